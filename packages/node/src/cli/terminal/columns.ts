import { printable } from "./terminal.ts";

/**
 * Formats a table with a heading, rows, and two spaces between columns. The columns named in `right` are right-aligned.
 */
export function formatTable(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string {
  // Names of nodes and logs, and keys, come from outside and can contain any character.
  const cells = rows.map((row) => row.map(printable));
  return alignRows([heading, ...cells], new Set(right.map((name) => heading.indexOf(name))));
}

/** Removes the heading from a further page of a table. */
export function withoutHeading(table: string): string {
  return table.slice(table.indexOf("\n") + 1);
}

/** Formats names and values in two columns. Text from outside is not escaped; see `printableLines`. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  return alignRows(fields, new Set());
}

function alignRows(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    }
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return right.has(column) ? cell.padStart(width) : cell.padEnd(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Cuts a string to `width` characters. The last character of a cut string is `…`. */
export function shorten(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
