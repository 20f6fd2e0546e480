// Makes porcupine judge histories of three nodes under faults: node test/dist/outside/porcupine/main.js [--rounds N]
// [--seed N] [--reads plain]
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Picks, seededPicks } from "@cairn/test-support/seeded-random";
import { makeHistory, type Operation } from "./clients.ts";
import { Cluster, type Program } from "./cluster.ts";
import { MACHINES, Network } from "./network.ts";

const JUDGE = fileURLToPath(new URL("../../../outside/porcupine/judge/", import.meta.url));
const HISTORY_MS = 2_000;
/** The number of histories, each with its own keys, that are created concurrently. */
const CONCURRENT_HISTORIES = 3;

interface Verdict {
  readonly history: number;
  readonly operations: number;
  readonly verdict: "Ok" | "Illegal" | "Unknown";
  readonly picture: string;
}

const PROGRAMS: readonly [Program, Program] = ["nats", "node"];

/** Faults during histories. Each undoes its effect before it ends, except that a killed program must still catch up. */
const FAULTS: Readonly<Record<string, (cluster: Cluster, network: Network, picks: Picks) => Promise<void>>> =
  {
    "a machine cut off": async (_, network, picks) => {
      network.isolate(picks.below(MACHINES));
      await delay(HISTORY_MS * (0.5 + picks.next() / 2));
      network.heal();
    },
    "two machines cut off from each other": async (_, network, picks) => {
      const one = picks.below(MACHINES);
      network.cut(one, (one + 1) % MACHINES);
      await delay(HISTORY_MS * (0.5 + picks.next() / 2));
      network.heal();
    },
    "a program killed": async (cluster, _, picks) => {
      const machine = picks.below(MACHINES);
      const program = picks.of(PROGRAMS);
      await cluster.kill(machine, program);
      await delay(picks.next() * 500);
      await cluster.run(machine, program);
    },
    "a program paused": async (cluster, _, picks) => {
      const machine = picks.below(MACHINES);
      const program = picks.of(PROGRAMS);
      cluster.signal(machine, program, "SIGSTOP");
      await delay(picks.next() * HISTORY_MS);
      cluster.signal(machine, program, "SIGCONT");
    },
    nothing: async () => undefined,
  };

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" }, reads: { type: "string" } },
});
const histories = Number(values.rounds ?? 60);
const seed = Number(values.seed ?? 1);
const reads = values.reads === "plain" ? "plain" : "linearizable";

const folder = await mkdtemp(join(tmpdir(), "cairn-porcupine-"));
const judge = join(folder, "judge");
build();
await expectVerdict([staleRead(0)], "Illegal");
const network = new Network();
const cluster = new Cluster(network, folder);
const happened = new Map<string, number>();
const rejected: Verdict[] = [];
let judged = 0;
let operations = 0;
let unknown = 0;
try {
  await cluster.start();
  const picks = seededPicks(seed);
  const urls = [cluster.url(0), cluster.url(1), cluster.url(2)] as const;
  while (judged < histories) {
    const count = Math.min(CONCURRENT_HISTORIES, histories - judged);
    const begun = judged;
    const end = AbortSignal.timeout(HISTORY_MS);
    const making = Array.from({ length: count }, (_, n) => makeHistory(begun + n, seed, urls, reads, end));
    const [first = "", ...rest] = Object.keys(FAULTS);
    const fault = picks.of([first, ...rest]);
    happened.set(fault, (happened.get(fault) ?? 0) + 1);
    await delay(picks.next() * 300);
    await FAULTS[fault]?.(cluster, network, picks);
    const made = (await Promise.all(making)).flat();
    for (const verdict of await verdictsOf(made)) {
      operations += verdict.operations;
      if (verdict.verdict === "Ok") continue;
      rejected.push(verdict);
      process.stdout.write(
        `  ${fault}: history ${verdict.history} is ${verdict.verdict}: ${verdict.picture}\n`,
      );
    }
    unknown += made.filter(({ outcome }) => outcome === "unknown").length;
    judged += count;
    await cluster.ready();
  }
} finally {
  await cluster.close();
  network.close();
}
const faults = [...happened].map(([name, times]) => `${times} ${name}`).join(", ");
process.stdout.write(
  `porcupine: ${judged} histories (seed ${seed}, ${reads} reads), ${operations} operations, ${unknown} of unknown outcome; ${faults}: ${rejected.length} rejected\n`,
);
if (rejected.length > 0) process.exitCode = 1;
else await rm(folder, { recursive: true, force: true });

function build(): void {
  const built = spawnSync("go", ["build", "-o", judge, "."], { cwd: JUDGE, encoding: "utf8" });
  if (built.error !== undefined) throw new Error(`This needs Go: ${built.error.message}`);
  if (built.status !== 0) throw new Error(`The judge could not be built: ${built.stderr}`);
}

async function verdictsOf(made: readonly Operation[]): Promise<Verdict[]> {
  const child = spawn(judge, [folder], { stdio: ["pipe", "pipe", "inherit"] });
  const verdicts: Verdict[] = [];
  const lines = createInterface({ input: child.stdout }).on("line", (line) => {
    verdicts.push(JSON.parse(line) as Verdict);
  });
  const read = once(lines, "close");
  const exited = once(child, "exit") as Promise<[number | null]>;
  child.stdin.end(made.map((operation) => `${JSON.stringify(operation)}\n`).join(""));
  const [code] = await exited;
  await read;
  if (code !== 0) throw new Error(`The judge exited with ${String(code)}.`);
  return verdicts;
}

/** Throws unless the judge returns this verdict on each history. A judge that accepted everything would prove nothing. */
async function expectVerdict(made: readonly Operation[][], expected: Verdict["verdict"]): Promise<void> {
  const verdicts = await verdictsOf(made.flat());
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
