// Runs the long lives of clusters: node main.js [--minutes N | --rounds N] [--seed N] [--steps N] [--other PATH]. Each seed
// is a cluster with random steps of operators and clients. `--other` names a built checkout whose `cairn` is used.
import { parseArgs } from "node:util";
import { givenBuild } from "../skew/builds.ts";
import { live } from "./life.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    rounds: { type: "string" },
    seed: { type: "string", default: "1" },
    steps: { type: "string", default: "14" },
    other: { type: "string" },
  },
});

const begun = Date.now();
const endsAt = values.minutes === undefined ? Infinity : begun + Number(values.minutes) * 60_000;
const rounds = Number(values.rounds ?? (values.minutes === undefined ? "10" : Infinity));
const program = values.other === undefined ? {} : { program: givenBuild(values.other).program };
const ending = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ending.abort());

const totals = new Map<string, number>();
let violations = 0;
const from = Number(values.seed);
for (let seed = from; seed < from + rounds && Date.now() < endsAt && !ending.signal.aborted; seed += 1) {
  const start = Date.now();
  const report = await live({ seed, steps: Number(values.steps), ...program, signal: ending.signal });
  const { log, nodes, stores, backup } = report.scene;
  const seconds = ((Date.now() - start) / 1_000).toFixed(0);
  const place = `${log}, ${nodes} nodes, ${stores}${backup === undefined ? "" : `, backup ${backup}`}`;
  const isBroken = report.violations.length > 0;
  process.stdout.write(
    `seed ${seed}: ${seconds} s, ${place}${isBroken ? `, BROKEN: ${report.folder}/journal` : ""}\n`,
  );
  for (const violation of report.violations) process.stdout.write(`  ${violation.slice(0, 600)}\n`);
  for (const command of report.refused)
    process.stdout.write(`  a hint was refused: ${command.slice(0, 600)}\n`);
  violations += report.violations.length;
  for (const [what, times] of report.counts) totals.set(what, (totals.get(what) ?? 0) + times);
  totals.set("seeds", (totals.get("seeds") ?? 0) + 1);
}
for (const [what, times] of [...totals].toSorted())
  process.stdout.write(`${String(times).padStart(7)} ${what}\n`);
process.stdout.write(
  `${String(violations).padStart(7)} violations in ${((Date.now() - begun) / 60_000).toFixed(1)} minutes\n`,
);
if (violations > 0) process.exitCode = 1;
