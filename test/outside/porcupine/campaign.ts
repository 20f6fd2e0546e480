import { setTimeout as delay } from "node:timers/promises";
import { type Picks, seededPicks } from "@cairn/test-support/seeded-random";
import { Cluster, type Program } from "./cluster.ts";
import { MACHINES, Network } from "./network.ts";

const HISTORY_MS = 2_000;
/** The number of histories, each with its own keys, that are created concurrently. */
const CONCURRENT_HISTORIES = 3;

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

/** Histories of one cluster, and what to do with them. */
export interface Campaign<T> {
  readonly histories: number;
  readonly seed: number;
  /** The folder for the files of the cluster. */
  readonly folder: string;
  /** Makes a history until `signal` aborts. */
  readonly make: (history: number, cluster: Cluster, signal: AbortSignal) => Promise<T>;
  /** Judges histories that were made concurrently, once all nodes are ready again. */
  readonly judge: (made: readonly T[], fault: string, cluster: Cluster) => Promise<void>;
}

/** Makes and judges histories of three machines, with one fault at a time. Returns the faults that happened. */
export async function runCampaign<T>({ histories, seed, folder, make, judge }: Campaign<T>): Promise<string> {
  const network = new Network();
  const cluster = new Cluster(network, folder);
  const happened = new Map<string, number>();
  try {
    await cluster.start();
    const picks = seededPicks(seed);
    for (let begun = 0; begun < histories; begun += CONCURRENT_HISTORIES) {
      const count = Math.min(CONCURRENT_HISTORIES, histories - begun);
      const end = AbortSignal.timeout(HISTORY_MS);
      const making = Array.from({ length: count }, (_, n) => make(begun + n, cluster, end));
      const [first = "", ...rest] = Object.keys(FAULTS);
      const fault = picks.of([first, ...rest]);
      happened.set(fault, (happened.get(fault) ?? 0) + 1);
      await delay(picks.next() * 300);
      await FAULTS[fault]?.(cluster, network, picks);
      const made = await Promise.all(making);
      await cluster.ready();
      await judge(made, fault, cluster);
    }
  } finally {
    await cluster.close();
    network.close();
  }
  return [...happened].map(([name, times]) => `${times} ${name}`).join(", ");
}
