// Runs nodes of two versions of Cairn on one log and one store: node main.js [--rounds N] [--seed N] [--other PATH]
// [--first PATH] Each round upgrades and downgrades a cluster at random. Every fourth round moves the documents of
// version 0.1.0 to the new version. The other versions are built checkouts (--other: of the previous index version;
// --first: of 0.1.0), or else built from this repository's history.
import { parseArgs } from "node:util";
import { type Build, buildOf, givenBuild } from "./builds.ts";
import { Figures } from "./figures.ts";
import { SkewCluster } from "./skew-cluster.ts";
import { TakeOverRound } from "./take-over-round.ts";
import { UpgradeRound } from "./upgrade-round.ts";

/** A commit with the same log format, and index version 4. */
const OTHER_COMMIT = "9b160e7";
/** A commit with log format `cairn/1` and index version 3. */
const FIRST_COMMIT = "18c5f23";
const TAKE_OVER_EVERY = 4;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    other: { type: "string" },
    first: { type: "string" },
  },
});

async function buildFor(name: "other" | "first", given: string | undefined, commit: string): Promise<Build> {
  return given === undefined ? await buildOf(name, commit) : givenBuild(name, given);
}

const figures = new Figures();
const from = Number(values.seed);
let cluster: SkewCluster | undefined;
let isEnding = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // Otherwise, the cluster's nodes and its server would outlive this process.
  process.once(signal, () => {
    isEnding = true;
    // The report comes first: failures after the nodes were killed are not violations.
    report();
    void closeCluster().finally(() => process.exit(1));
  });
}

async function closeCluster(): Promise<void> {
  const closing = cluster;
  cluster = undefined;
  await closing?.close();
}

async function run(): Promise<void> {
  const other = await buildFor("other", values.other, OTHER_COMMIT);
  const first = await buildFor("first", values.first, FIRST_COMMIT);
  for (let seed = from; seed < from + Number(values.rounds); seed += 1) {
    const before = figures.violations.length;
    const start = performance.now();
    cluster = await SkewCluster.open(figures);
    const isTakeOver = seed % TAKE_OVER_EVERY === 0;
    const round = isTakeOver
      ? new TakeOverRound(cluster, first, seed)
      : new UpgradeRound(cluster, other, seed);
    // An error ends the round, not the campaign.
    await round.run().catch((error: unknown) => {
      if (!isEnding) figures.violated(`the round ended: ${textOf(error)}`);
    });
    if (isEnding) return;
    await closeCluster();
    figures.count(isTakeOver ? "rounds of take-over" : "rounds of upgrades");
    const broken = figures.violations.slice(before);
    const seconds = ((performance.now() - start) / 1_000).toFixed(1);
    process.stdout.write(`seed ${seed}: ${seconds} s${broken.length > 0 ? ", BROKEN" : ""}\n`);
    for (const violation of broken) process.stdout.write(`  ${violation}\n`);
  }
  report();
  if (figures.violations.length > 0) process.exitCode = 1;
}

function report(): void {
  process.stdout.write(`skew between versions, from seed ${from}\n${figures.lines().join("\n")}\n`);
  process.stdout.write(`  violations: ${figures.violations.length}\n`);
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

await run().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 3;
});
