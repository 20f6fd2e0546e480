// Simulates clusters and prints a table: node packages/checkpoint/dist/test/simulation/main.js --help
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { CALM, STORMY, usualConditions } from "./conditions.ts";
import type { Conditions } from "./conditions.ts";
import type { Report } from "./report.ts";
import { simulate } from "./simulate.ts";
import { heading, row } from "./table.ts";

const USAGE = `pnpm simulate [--nodes N]... [--periods N] [--seed N] [--storm calm|stormy]... [--not-exclusive] [--json FILE]`;
const SIZES = [1, 2, 5, 20, 100, 1_000];
/** The maximum number of looks of all nodes, so that even the largest clusters end within minutes. */
const MOST_LOOKS = 300_000;

const { values } = parseArgs({
  options: {
    nodes: { type: "string", multiple: true, default: SIZES.map(String) },
    periods: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    storm: { type: "string", multiple: true, default: ["calm", "stormy"] },
    "not-exclusive": { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(`${USAGE}\n`);
} else {
  const reports: Report[] = [];
  process.stdout.write(`${heading()}\n`);
  for (const storm of values.storm) {
    for (const nodes of values.nodes.map((text) => whole("--nodes", text))) {
      const report = await simulate(conditionsOf(storm, nodes));
      reports.push(report);
      process.stdout.write(`${row(report)}\n`);
      for (const { rule, what, at } of report.violations.slice(0, 10)) {
        process.stderr.write(`broken: ${rule}: ${what}, at ${new Date(at).toISOString()}\n`);
      }
    }
  }
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(reports, null, 1)}\n`);
  if (reports.some(({ violations }) => violations.length > 0)) process.exitCode = 1;
}

function conditionsOf(storm: string, nodes: number): Conditions {
  const asked = whole("--periods", values.periods);
  const periods = Math.max(100, Math.min(asked, Math.floor(MOST_LOOKS / nodes)));
  if (storm !== "calm" && storm !== "stormy")
    throw new TypeError(`--storm takes calm or stormy, not ${storm}.`);
  return {
    ...usualConditions(whole("--seed", values.seed), nodes, Math.min(asked, periods)),
    storm: storm === "calm" ? CALM : STORMY,
    exclusive: !values["not-exclusive"],
  };
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new TypeError(`${option} takes a whole number above 0, not ${text}.`);
}
