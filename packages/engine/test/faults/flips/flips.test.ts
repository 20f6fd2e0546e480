import { commitSeed } from "@cairn/kv/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chanceOf } from "../odd-values.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { PristineNode } from "./embedded-place.ts";
import { examine } from "./flip-examination.ts";
import { FlipOracle } from "./flip-oracle.ts";
import { flippedOnce, type FlipTally, type StartNode } from "./flip-round.ts";
import { NodeHost } from "./node-host.ts";
import { startProcess } from "./node-process.ts";

/** The number of seeds. `pnpm soak` runs more. */
const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 20);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
/** The number of seeds that run concurrently. Each waits for the disk most of the time. */
const AT_ONCE = 3;
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
/** One seed in this many runs the node in a separate process and queries it over HTTP, which takes longer. */
const PROCESS_EVERY = 20;
/** The number of consecutive seeds that damage copies of the same history. */
const SEEDS_A_HISTORY = 20;

function startIn(host: NodeHost, seed: number): StartNode {
  return seed % PROCESS_EVERY === 0 ? startProcess : (folder) => host.start(folder);
}

describe("a changed byte on a node's disk", () => {
  const tally: FlipTally = new Map();
  const hosts = Array.from({ length: AT_ONCE }, () => new NodeHost());
  const [host = new NodeHost()] = hosts;
  const pristine = new Map<number, Promise<PristineNode>>();
  const historyOf = (seed: number): Promise<PristineNode> => {
    const number = Math.floor(seed / SEEDS_A_HISTORY);
    const made = pristine.get(number) ?? PristineNode.make(number, host);
    pristine.set(number, made);
    return made;
  };

  beforeAll(async () => void (await historyOf(SAMPLE)));
  afterAll(async () => {
    const lines = [...tally].toSorted().map(([what, times]) => `${String(times).padStart(6)} ${what}`);
    lines.push(`${String(SEEDS).padStart(6)} seeds from ${FIRST}`);
    if (process.env["CAIRN_SOAK_ROUNDS"] !== undefined) process.stdout.write(`${lines.join("\n")}\n`);
    for (const made of pristine.values()) await (await made).close();
    for (const one of hosts) await one.close();
  });

  it(`is judged by an oracle that agrees with an undamaged node (seed ${SAMPLE})`, async () => {
    const node = await historyOf(SAMPLE);
    const place = await node.copy();
    const subject = await host.start(place.folder);
    try {
      const { below } = chanceOf(seededRandom(SAMPLE));
      const verdict = await examine(subject, new FlipOracle(node.logId, node.acknowledged), "never", below);
      expect(verdict).toMatchObject({ end: "right", refusals: 0 });
    } finally {
      await subject.stop();
      await place.close();
    }
  });

  it(`never leads to a wrong response, wherever it is (seed ${SAMPLE})`, async () => {
    expect(
      await flippedOnce(startIn(host, SAMPLE), await historyOf(SAMPLE), SAMPLE, new Map()),
    ).toBeUndefined();
  });

  it(
    `never leads to a wrong response, wherever it is, in ${SEEDS} seeds`,
    { tags: "rest/campaign", timeout: 180_000 + SEEDS * 5_000 },
    async () => {
      const seeds = Array.from({ length: SEEDS }, (_, n) => FIRST + n);
      const failures: string[] = [];
      const work = async (own: NodeHost): Promise<void> => {
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
          const failure = await flippedOnce(startIn(own, seed), await historyOf(seed), seed, tally);
          if (failure !== undefined) failures.push(failure);
        }
      };
      await Promise.all(hosts.map(work));
      expect(failures).toEqual([]);
    },
  );
});
