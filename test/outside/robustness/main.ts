// Makes etcd's robustness validator judge histories of three nodes under faults:
// node test/dist/outside/robustness/main.js [--rounds N] [--seed N]
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runCampaign } from "../porcupine/campaign.ts";
import type { Cluster } from "../porcupine/cluster.ts";
import { GoJudge } from "../porcupine/go-judge.ts";
import type { History } from "./history.ts";
import { PLANTED_FAULTS } from "./planted-faults.ts";
import { messagesOf, readLog } from "./read-log.ts";
import { type EndedHistory, RunningHistory } from "./running-history.ts";

const JUDGE = fileURLToPath(new URL("../../../outside/robustness/judge/", import.meta.url));

interface Verdict {
  readonly history: number;
  readonly operations: number;
  readonly events: number;
  /** The reason of a rejection, beginning with the validator's part that rejects; empty for an accepted history. */
  readonly refusal: string;
  /** Whether everything was checked. In an accepted history, this means that something was written. */
  readonly isWhole: boolean;
}

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const histories = Number(values.rounds ?? 10);
const seed = Number(values.seed ?? 1);

const folder = await mkdtemp(join(tmpdir(), "cairn-robustness-"));
const judge = GoJudge.build(JUDGE, folder);
/** The planted faults that no history has had a place for yet. */
const unplanted = new Set(Object.keys(PLANTED_FAULTS));
const problems: string[] = [];
let lastTxId = 0;
let operations = 0;
let events = 0;
let unwritten = 0;
let unknown = 0;
const faults = await runCampaign<RunningHistory>({
  histories,
  seed,
  folder,
  make: (history, cluster, signal) => RunningHistory.make(history, seed, cluster, signal),
  judge: async (running, fault, cluster) => {
    const ended = await Promise.all(running.map((one) => one.end()));
    const made = await withLog(ended, cluster);
    const verdicts = await judge.verdicts<Verdict>(made, [folder]);
    for (const verdict of verdicts) {
      operations += verdict.operations;
      events += verdict.events;
      if (verdict.refusal === "" && !verdict.isWhole) unwritten += 1;
      if (verdict.refusal !== "") await report(verdict, fault, made);
    }
    for (const one of made) {
      unknown += one.operations.filter((op) => op.kind === "write" && op.answer.kind === "unknown").length;
      if (verdicts.some(({ history, refusal }) => history === one.history && refusal === ""))
        await plantFaults(one);
    }
  },
});
for (const name of unplanted) problems.push(`No history had a place for ${name}: make more (--rounds).`);
const planted = Object.keys(PLANTED_FAULTS).length - unplanted.size;
process.stdout.write(
  `robustness: ${histories} histories (seed ${seed}), ${unwritten} of them without a write, ${operations} operations, ${unknown} of unknown outcome, ${events} watched events; ${faults}; ${planted} planted faults: ${problems.length} problems\n`,
);
for (const problem of problems) process.stdout.write(`  ${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else await rm(folder, { recursive: true, force: true });

/** Adds the part of the log since the last call. */
async function withLog(ended: readonly EndedHistory[], cluster: Cluster): Promise<History[]> {
  const upTo = Math.max(...ended.map((one) => one.upTo));
  const messages = await readLog(cluster, lastTxId, upTo);
  lastTxId += messages.length;
  return ended.map(({ history, operations: made, watches }) => {
    return { history, lastTxId, messages: messagesOf(history, messages), operations: made, watches };
  });
}

async function report({ history, refusal }: Verdict, fault: string, made: readonly History[]): Promise<void> {
  const file = join(folder, `history-${history}.json`);
  await writeFile(file, JSON.stringify(made.find((one) => one.history === history)));
  problems.push(`${fault}: history ${history} is refused (${refusal}): ${file}`);
}

/** Plants faults in an accepted history. A judge that accepted them would prove nothing. */
async function plantFaults(history: History): Promise<void> {
  for (const name of unplanted) {
    const fault = PLANTED_FAULTS[name];
    const changed = fault?.plant(history);
    if (fault === undefined || changed === undefined) continue;
    unplanted.delete(name);
    const [verdict] = await judge.verdicts<Verdict>([changed], [folder], true);
    if (verdict?.refusal.startsWith(fault.by) !== true)
      problems.push(`The judge accepts ${name}, or refuses it for another reason: ${verdict?.refusal}.`);
  }
}
