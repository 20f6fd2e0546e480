import type { JudgedTarget, Measured, Summary } from "./rounds.ts";
import type { FigureName, Row } from "./row.ts";

/** Formats a row's figures, and its ratios with their targets, as lines of text. */
export function formatRow(row: Row, { figures, targets }: Measured): string {
  const measured = figures.map(({ contestant, metric, summary }) => [contestant, metric, ...spread(summary)]);
  const judged = targets.map((target) => [ratioName(target), "", ...spread(target.summary), verdict(target)]);
  return [`${row.name}: ${row.title}`, ...align(measured), "", ...align(judged)].join("\n");
}

function align(lines: readonly string[][]): string[] {
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map(
    (line) =>
      "  " +
      line
        .map((cell, column) =>
          column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join("  ")
        .trimEnd(),
  );
}

function spread({ median, min, max }: Summary): [median: string, spread: string] {
  return [formatNumber(median), min === max ? "" : `${formatNumber(min)}..${formatNumber(max)}`];
}

function ratioName({ target: { of, to } }: JudgedTarget): string {
  if (to === undefined) return `${figureName(of)}`;
  if (of.metric === to.metric) return `${of.contestant} : ${to.contestant} (${of.metric})`;
  return of.contestant === to.contestant
    ? `${of.contestant}: ${of.metric} : ${to.metric}`
    : `${figureName(of)} : ${figureName(to)}`;
}

function figureName({ contestant, metric }: FigureName): string {
  return `${contestant} ${metric}`;
}

function verdict({ target: { atLeast, atMost }, met }: JudgedTarget): string {
  const bounds = [
    ...(atLeast === undefined ? [] : [`>= ${atLeast}`]),
    ...(atMost === undefined ? [] : [`<= ${atMost}`]),
  ];
  return bounds.length === 0 ? "" : `${bounds.join(" and ")}: ${met ? "met" : "MISSED"}`;
}

/** Formats a number with at least three significant digits. */
function formatNumber(value: number): string {
  return value.toLocaleString("en-US", {
    maximumSignificantDigits: Math.max(3, Math.floor(Math.log10(Math.max(1, value))) + 1),
  });
}
