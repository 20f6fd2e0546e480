import type { Report } from "./report.ts";

const COLUMNS: readonly (readonly [string, (report: Report) => string])[] = [
  ["nodes", ({ conditions }) => conditions.nodes.toLocaleString("en")],
  ["faults", ({ conditions }) => (conditions.storm.atStep > 0 ? "many" : "none")],
  ["periods", ({ conditions }) => conditions.periods.toLocaleString("en")],
  ["uploads a period", ({ uploadsPerPeriod }) => uploadsPerPeriod.toFixed(3)],
  ["longest gap", ({ longestGap }) => longestGap.plain.toFixed(2)],
  [
    "… after one lost saver",
    ({ longestGap }) => (longestGap.interrupted || Number.NaN).toFixed(2).replace("NaN", "–"),
  ],
  ["most at once", ({ mostAtOnce }) => String(mostAtOnce)],
  ["thrown away", ({ thrownAway }) => `${(100 * thrownAway).toFixed(1)} %`],
  [
    "share of a node",
    ({ share, uploads, conditions }) =>
      uploads / conditions.nodes < 100 ? "–" : `${share.least.toFixed(2)} to ${share.most.toFixed(2)}`,
  ],
  ["looks a node and period", ({ looksPerNode }) => looksPerNode.toFixed(2)],
  ["requests a look", ({ requestsPerLook }) => requestsPerLook.toFixed(1)],
  ["files listed at most", ({ longestListing }) => String(longestListing)],
  ["rules broken", ({ violations }) => String(violations.length)],
];

/** Returns the first lines of the table, in Markdown. */
export function heading(): string {
  return `| ${COLUMNS.map(([name]) => name).join(" | ")} |\n|${"---|".repeat(COLUMNS.length)}`;
}

/** Returns a report as a row of the table. */
export function row(report: Report): string {
  return `| ${COLUMNS.map(([, cell]) => cell(report)).join(" | ")} |`;
}
