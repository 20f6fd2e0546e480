// @module-tag nats
import { commitSeed } from "@cairn/kv/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "@cairn/test-support/seeded-random";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";
import { TortureWatcher } from "@cairn/test-support/torture-watcher";
import { WatchedCluster } from "@cairn/test-support/watched-cluster";
import { transactionsBetween, type WatchedHistory } from "@cairn/test-support/watch-oracle";
import type { Position } from "@cairn/client";
import { resumeAtPositions } from "./resumed-positions.ts";
import { randomTransactions } from "./random-writes.ts";
import { parsePosition } from "@cairn/text";

const ROUNDS = soakRounds(2);
const FIRST_SEED = Number(process.env["CAIRN_SOAK_SEED"] ?? "2");
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
const WATCHERS = 12;

describe("watchers that disconnect, pause and change nodes", () => {
  let cluster: WatchedCluster;
  beforeAll(async () => {
    cluster = await WatchedCluster.open();
  });
  afterAll(async () => await cluster.close());

  it(`receive exactly the log from their beginning, while a node is killed (seed ${SAMPLE})`, async () => {
    await torture(cluster, SAMPLE, 1);
  });

  for (let seed = FIRST_SEED; seed < FIRST_SEED + ROUNDS; seed += 1) {
    it(
      `receive exactly the log from their beginning, while nodes are killed and the log loses its end (seed ${seed})`,
      { tags: "rest/campaign", timeout: soakTimeout(1, 90_000) },
      async () => await torture(cluster, seed, 3),
    );
  }
});

describe("programs that stop and resume at positions stored at random", () => {
  it(`receive exactly the log, or an error if it lost the position (seed ${SAMPLE})`, async () => {
    await resumeAtPositions(SAMPLE, 2);
  });

  for (let seed = FIRST_SEED; seed < FIRST_SEED + ROUNDS; seed += 1) {
    it(
      `receive exactly the log, or an error if it lost the position, for longer (seed ${seed})`,
      { tags: "rest/campaign", timeout: soakTimeout(1, 90_000) },
      async () => await resumeAtPositions(seed, 6),
    );
  }
});

/** Positions of all rounds, also of histories that the log has lost. */
const stored: Position[] = ["0"];

/** Kills nodes while watchers watch, `kills` times in all. */
async function torture(cluster: WatchedCluster, seed: number, kills: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = (count: number): number => Math.floor(random() * count);
  // Watchers begin at the current position, or at one that was stored at random, which the log may have lost.
  const begin = (index: number): Position | undefined =>
    index % 3 === 0 ? undefined : stored[pick(stored.length)];
  const watchers = Array.from({ length: WATCHERS }, (_, index) => {
    const filter = [
      {},
      {},
      { bucket: "pods" },
      { namespace: "prod" },
      { bucket: "nodes", namespace: "test" },
    ][index % 5];
    return new TortureWatcher({
      ...filter,
      from: begin(index),
      random: seededRandom(seed * 1_000 + index),
      urls: () => cluster.urls,
    });
  });
  // Every third seed rolls the log back, after every watcher has received what will be lost.
  const regresses = seed % 3 === 0;
  await cluster.checkpoint();
  if (regresses) {
    await cluster.scene.copyStore();
    await write(cluster, pick);
    await waitForWatchers(watchers, await cluster.history());
    await cluster.loseEnd();
  }
  // Every third seed removes the history of one bucket, starting here.
  if (seed % 3 === 2) await cluster.write(0, [{ ops: [["configure", { history: { pods: { keep: 1 } } }]] }]);
  for (let kill = 0; kill < kills; kill += 1) {
    const victim = pick(3);
    const writing = write(cluster, pick);
    await cluster.kill(victim);
    if (pick(2) === 0) await cluster.loseIndex(victim);
    await cluster.start(victim);
    await writing;
  }
  await cluster.ready();
  // Without more writes, the log may end before the positions of watchers.
  if (pick(2) === 0) await write(cluster, pick);
  for (const watcher of watchers) watcher.calm();
  const present = await cluster.history();
  await waitForWatchers(watchers, present);
  await Promise.all(watchers.map((watcher) => watcher.finish()));

  const histories = [present, ...cluster.lost];
  for (const watcher of watchers) {
    expect(watcher.connections).toBeGreaterThan(0);
    for (const segment of watcher.segments) {
      expect(segment.seen).toEqual(transactionsBetween(histories, segment, watcher.filter));
      const { ended, position } = segment;
      // No watcher is refused if a watch can begin at its position, and none receives notice of a rollback that did not
      // happen.
      if (typeof ended === "object") expect(idOf(ended.floor)).toBeGreaterThan(idOf(position));
      if (ended === "regressed") expect(regresses || !present.positions.has(position)).toBe(true);
      stored.push(segment.position);
    }
  }
  const { positions } = histories[pick(histories.length)] ?? present;
  stored.push(...[...positions.keys()].filter(() => random() < 0.01));
}

function idOf(position: Position): number {
  return parsePosition(position, "position").txId;
}

async function waitForWatchers(watchers: readonly TortureWatcher[], { end }: WatchedHistory): Promise<void> {
  await expect
    .poll(() => watchers.map(({ position }) => position), { timeout: 60_000, interval: 20 })
    .toEqual(watchers.map(() => end));
}

async function write(cluster: WatchedCluster, pick: (count: number) => number): Promise<void> {
  for (let batch = 0; batch < 4; batch += 1) await cluster.write(pick(3), randomTransactions(pick));
}
