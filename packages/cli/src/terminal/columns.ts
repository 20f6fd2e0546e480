import { type Output, printable } from "./terminal.ts";

export type TableOutput = Pick<Output, "isTTY" | "columns">;

export type Column<T> = readonly [heading: string, cell: (item: T) => string, align?: "right" | undefined];

/** Formats items as a table with a heading. On a narrow terminal, shortens long cells. */
export function formatTable<T>(
  columns: readonly Column<T>[],
  items: readonly T[],
  { isTTY, columns: width = 0 }: TableOutput,
): string {
  const heading = columns.map(([name]) => name);
  // Names of nodes and logs, and keys, come from outside and can contain any character.
  const cells = [heading, ...items.map((item) => columns.map(([, cell]) => printable(cell(item))))];
  // A terminal that reports 0 columns does not know its width.
  const widths = fittedWidths(cells, isTTY === true && width > 0 ? width : Infinity);
  const fitted = cells.map((row) => row.map((cell, column) => shorten(cell, widths[column] ?? 0)));
  return alignRows(fitted, new Set(columns.flatMap(([, , align], at) => (align === "right" ? [at] : []))));
}

/** A field whose value is null is not shown. */
export type Field = readonly [name: string, value: string | null];

/** Formats names and values in two columns. Values may contain text from outside. */
export function formatFields(fields: readonly Field[]): string {
  const rows = fields.flatMap(([name, value]) => (value === null ? [] : [[name, printable(value)]]));
  return alignRows(rows, new Set());
}

function alignRows(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const widths = widthsOf(rows);
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return right.has(column) ? cell.padStart(width) : cell.padEnd(width);
        })
        .join(GAP)
        .trimEnd(),
    )
    .join("\n");
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    }
  }
  return widths;
}

const GAP = "  ";
/** A column is not made narrower than this. */
const NARROWEST = 8;

/** Limits the width of the widest columns, so that short cells stay complete. */
function fittedWidths(rows: readonly (readonly string[])[], available: number): readonly number[] {
  const widths = widthsOf(rows);
  const space = available - GAP.length * (widths.length - 1);
  let limit = Math.max(...widths);
  const limited = (): number[] => widths.map((width) => Math.min(width, limit));
  while (limit > NARROWEST && limited().reduce((sum, width) => sum + width, 0) > space) limit -= 1;
  return limited();
}

/** The width of texts that can be of any length, such as documents. */
const WIDEST_TEXT = 200;

/** Cuts a string to `width` characters. The last character of a cut string is `…`. */
export function shorten(text: string, width = WIDEST_TEXT): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
