// Makes porcupine judge histories of three nodes under faults: node test/dist/outside/porcupine/main.js [--rounds N]
// [--seed N] [--reads plain]
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runCampaign } from "./campaign.ts";
import { makeHistory, type Operation } from "./clients.ts";
import { GoJudge } from "./go-judge.ts";

const JUDGE = fileURLToPath(new URL("../../../outside/porcupine/judge/", import.meta.url));

interface Verdict {
  readonly history: number;
  readonly operations: number;
  readonly verdict: "Ok" | "Illegal" | "Unknown";
  readonly picture: string;
}

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" }, reads: { type: "string" } },
});
const histories = Number(values.rounds ?? 60);
const seed = Number(values.seed ?? 1);
const reads = values.reads === "plain" ? "plain" : "linearizable";

const folder = await mkdtemp(join(tmpdir(), "cairn-porcupine-"));
const judge = GoJudge.build(JUDGE, folder);
await expectVerdict(staleRead(0), "Illegal");
const rejected: Verdict[] = [];
let operations = 0;
let unknown = 0;
const faults = await runCampaign<Operation[]>({
  histories,
  seed,
  folder,
  make: (history, cluster, signal) =>
    makeHistory(history, seed, [cluster.url(0), cluster.url(1), cluster.url(2)], reads, signal),
  judge: async (made, fault) => {
    for (const verdict of await judge.verdicts<Verdict>(made.flat(), [folder])) {
      operations += verdict.operations;
      if (verdict.verdict === "Ok") continue;
      rejected.push(verdict);
      process.stdout.write(
        `  ${fault}: history ${verdict.history} is ${verdict.verdict}: ${verdict.picture}\n`,
      );
    }
    unknown += made.flat().filter(({ outcome }) => outcome === "unknown").length;
  },
});
process.stdout.write(
  `porcupine: ${histories} histories (seed ${seed}, ${reads} reads), ${operations} operations, ${unknown} of unknown outcome; ${faults}: ${rejected.length} rejected\n`,
);
if (rejected.length > 0) process.exitCode = 1;
else await rm(folder, { recursive: true, force: true });

/** Throws unless the judge returns this verdict on a history. A judge that accepted everything would prove nothing. */
async function expectVerdict(made: readonly Operation[], expected: Verdict["verdict"]): Promise<void> {
  const verdicts = await judge.verdicts<Verdict>(made, [folder]);
  if (verdicts.every(({ verdict }) => verdict === expected)) return;
  throw new Error(`The judge is wrong: ${JSON.stringify(verdicts)}`);
}

/** Returns a history in which a read does not see a write that ended before it began. */
function staleRead(history: number): Operation[] {
  const common = { history, key: "k", expected: "", outcome: "ok" } as const;
  return [
    { ...common, client: 0, kind: "put", value: "a", call: 0, return: 10 },
    { ...common, client: 1, kind: "read", value: "a", call: 20, return: 30 },
    { ...common, client: 0, kind: "put", value: "b", call: 40, return: 50 },
    { ...common, client: 1, kind: "read", value: "a", call: 60, return: 70 },
  ];
}
