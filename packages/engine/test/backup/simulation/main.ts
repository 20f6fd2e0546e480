// Simulates clusters with a log backup, prints a table and, with --svg FILE, draws a picture: node
// packages/engine/dist/test/backup/simulation/main.js
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { CALM, STORMY, usualConditions } from "./conditions.ts";
import { drawBackupSizes } from "./draw.ts";
import { type BackupReport, type Requests, simulateBackup } from "./simulate-backup.ts";

/** The maximum number of looks by all nodes together, so that even the largest clusters take only minutes. */
const MOST_LOOKS = 100_000;

const { values } = parseArgs({
  options: {
    nodes: { type: "string", multiple: true, default: ["1", "3", "10", "100", "1000"] },
    periods: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    "not-exclusive": { type: "boolean", default: false },
    svg: { type: "string" },
  },
});

const COLUMNS: readonly (readonly [string, (report: BackupReport) => string])[] = [
  ["nodes", ({ conditions }) => conditions.nodes.toLocaleString("en")],
  ["faults", ({ conditions }) => (conditions.storm === CALM ? "none" : "many")],
  ["periods", ({ conditions }) => conditions.periods.toLocaleString("en")],
  ["segments a period", ({ writtenPerPeriod }) => writtenPerPeriod.toFixed(2)],
  ["merged or doubled", ({ againPerPeriod }) => againPerPeriod.toFixed(2)],
  ["bytes written again", ({ bytesAgain }) => `${(100 * bytesAgain).toFixed(0)} %`],
  ["longest until backed up", ({ longest }) => `${longest.toFixed(2)} periods`],
  ["GET, LIST and other requests a look", ({ perLook }) => requestsOf(perLook)],
  [
    "a reader's GET of the pointer and of segments, and LIST, a period",
    ({ perReader: { read, open, list } }) => [read, open, list].map((count) => count.toFixed(3)).join(", "),
  ],
  ["segments in the end", ({ segments }) => String(segments)],
  ["positions lost", ({ violations }) => String(violations.length)],
];

function requestsOf({ read, open, list, ...others }: Requests): string {
  const rest = Object.values(others).reduce((sum, count) => sum + count);
  return [read + open, list, rest].map((count) => count.toFixed(3)).join(", ");
}

process.stdout.write(`| ${COLUMNS.map(([name]) => name).join(" | ")} |\n|${"---|".repeat(COLUMNS.length)}\n`);
const reports: BackupReport[] = [];
for (const storm of [CALM, STORMY]) {
  for (const nodes of values.nodes.map(Number)) {
    const periods = Math.min(Number(values.periods), Math.floor(MOST_LOOKS / nodes));
    const conditions = usualConditions(Number(values.seed), nodes, periods);
    const report = await simulateBackup({ ...conditions, storm, exclusive: !values["not-exclusive"] });
    reports.push(report);
    process.stdout.write(`| ${COLUMNS.map(([, cell]) => cell(report)).join(" | ")} |\n`);
    for (const violation of report.violations.slice(0, 10)) process.stderr.write(`${violation}\n`);
    if (report.violations.length > 0) process.exitCode = 1;
  }
}
if (values.svg !== undefined) await writeFile(values.svg, drawBackupSizes(reports));
