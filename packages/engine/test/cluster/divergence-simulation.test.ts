import { describe, expect, it } from "vitest";
import { encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { SimulatedCluster, type SimulatedNode } from "./simulated-cluster.ts";

const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 1);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
const PERIOD_MS = 60_000;
/**
 * The time within which a difference is detected (ms): two announcements at the latest possible moment, because one may
 * be lost, and the time for responses.
 */
const NOTICED_MS = 2 * 1.1 * PERIOD_MS + 10_000;

type Reach = SimulatedCluster["reach"];
type Part = (cluster: SimulatedCluster, wrong: SimulatedNode) => Promise<void>;

const WAYS: readonly (readonly [string, Part])[] = [
  [
    "derives a different result from a transaction",
    async (_cluster, wrong) => {
      // The next transaction that reads the hidden document makes the difference visible.
      for (let n = 0; n < 20; n += 1) if (await wrong.hide(`default/k${n}`)) break;
    },
  ],
  [
    "has a different message",
    async (cluster, wrong) => {
      const position = Math.max(cluster.messages.length, wrong.txId) + 1;
      const payload = encodeTransaction({ ops: [["put", "things", "default/forked", 1]] }, "log-1");
      wrong.forked = { position, time: cluster.clock.now(), payload };
    },
  ],
];

/**
 * Simulates one run. Returns the virtual time (ms) until the wrong node and another one detected the difference, and
 * until the wrong node was correct again.
 */
async function partOne(
  { count, seed, reach }: { readonly count: number; readonly seed: number; readonly reach: Reach },
  part: Part,
): Promise<{ noticed: number; right: number }> {
  const cluster = new SimulatedCluster(count, seed, reach);
  await cluster.start();
  await cluster.run(90_000);
  expect(cluster.nodes.flatMap(({ told }) => told)).toEqual([]);
  const wrong = cluster.nodes[count - 1];
  if (wrong === undefined) throw new Error("there are nodes");
  await part(cluster, wrong);
  while (await wrong.isRight()) await cluster.run(1_000);
  const others = cluster.nodes.filter((node) => node !== wrong);
  // Over the network, both nodes learn of the difference; with a store, the first node that finds the other's
  // checkpoint does.
  const isNoticed = (): boolean => {
    const [here, there] = [wrong.told.length > 0, others.some(({ told }) => told.length > 0)];
    return reach === "network" ? here && there : here || there;
  };
  const noticed = await cluster.run(NOTICED_MS, isNoticed);
  expect([count, seed, isNoticed()]).toEqual([count, seed, true]);
  const right = noticed + (await cluster.run(3_600_000, () => wrong.replaced > 0));
  await cluster.run(20_000);
  expect([count, seed, wrong.replaced, await wrong.isRight()]).toEqual([count, seed, 1, true]);
  expect(others.map(({ replaced }) => replaced)).toEqual(others.map(() => 0));
  // The nodes' messages determine which of them rebuilds first, and some of these messages are lost.
  if (reach === "network") expect(cluster.mostChecking).toBeLessThanOrEqual(2);
  await cluster.close();
  return { noticed, right };
}

const MANY = 100;
const COUNTS = [2, 3, 7, MANY];
const REACHES: readonly Reach[] = ["network", { lookEveryMs: PERIOD_MS }];
const CLUSTERS = REACHES.flatMap((reach) =>
  COUNTS.map(
    (count) => [count, reach === "network" ? "that reach one another" : "over one store", reach] as const,
  ),
);

describe.each(CLUSTERS)("of %i nodes %s, one that", (count, how, reach) => {
  it.each(WAYS)(
    "%s is detected within a period, and only that node is rebuilt",
    { timeout: 180_000 + SEEDS * 60_000, tags: count < MANY ? [] : ["rest/slow"] },
    async (what, part) => {
      const runs: { noticed: number; right: number }[] = [];
      for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1)
        runs.push(await partOne({ count, seed, reach }, part));
      const seconds = (of: "noticed" | "right"): string => {
        const sorted = runs.map((run) => run[of] / 1_000).toSorted((a, b) => a - b);
        return `${sorted[Math.floor(sorted.length / 2)]} s, at most ${sorted.at(-1)} s`;
      };
      const times = `noticed after ${seconds("noticed")}; right again after ${seconds("right")}`;
      process.stdout.write(`${count} nodes ${how}, one ${what}: ${times}\n`);
    },
  );
});
