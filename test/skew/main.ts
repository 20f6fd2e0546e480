// Runs nodes of two versions of Cairn on one log and one store: node main.js [--rounds N] [--seed N] [--other PATH].
// Each round upgrades and downgrades a cluster at random. The other version is the built checkout at PATH, which must
// have the same log format and another index version; by default, it is this checkout with the next index version.
import { parseArgs } from "node:util";
import { buildWithNextVersion, givenBuild } from "./builds.ts";
import { Figures } from "./figures.ts";
import { SkewCluster } from "./skew-cluster.ts";
import { UpgradeRound } from "./upgrade-round.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    other: { type: "string" },
  },
});

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
  const other = values.other === undefined ? await buildWithNextVersion() : givenBuild(values.other);
  for (let seed = from; seed < from + Number(values.rounds); seed += 1) {
    const before = figures.violations.length;
    const start = performance.now();
    cluster = await SkewCluster.open(figures);
    const round = new UpgradeRound(cluster, other, seed);
    // An error ends the round, not the campaign.
    await round.run().catch((error: unknown) => {
      if (!isEnding) figures.violated(`the round ended: ${textOf(error)}`);
    });
    if (isEnding) return;
    await closeCluster();
    figures.count("rounds");
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
