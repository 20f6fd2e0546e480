// @module-tag nats
import { commitSeed } from "@cairn/kv/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "@cairn/test-support/seeded-random";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";
import { TortureWatcher, type WatchFilter, type WatchedSegment } from "@cairn/test-support/torture-watcher";
import { WatchedCluster } from "@cairn/test-support/watched-cluster";
import type { ExpectedTransaction } from "@cairn/test-support/watch-oracle";

const ROUNDS = soakRounds(2);
const FIRST_SEED = Number(process.env["CAIRN_SOAK_SEED"] ?? "2");
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
const WATCHERS = 12;
const NAMESPACES = ["default", "prod", "test"];
const LARGE_BYTES = 16_384;

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

/** Kills nodes while watchers watch, `kills` times in all. */
async function torture(cluster: WatchedCluster, seed: number, kills: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = (count: number): number => Math.floor(random() * count);
  const last = (await cluster.expected()).at(-1)?.txId ?? 1;
  const begin = (index: number): number | undefined =>
    // Watchers begin at the current position, at the log's beginning, at a random transaction, or at a future one.
    [undefined, 0, pick(last), last + pick(20)][index % 4];
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
  let before: readonly ExpectedTransaction[] | undefined;
  await cluster.checkpoint();
  if (regresses) {
    await cluster.scene.copyStore();
    await write(cluster, pick);
    await waitForWatchers(watchers, (await cluster.expected()).at(-1)?.txId ?? 0);
    before = await cluster.expected();
    await cluster.scene.stopAndRestoreStore();
    await cluster.scene.nats.start();
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
  await write(cluster, pick);
  const lost = before?.at(-1)?.txId ?? 0;
  let expected = await cluster.expected();
  // A watcher whose position is beyond the log's end can only learn of the rollback once the log has reached it.
  while ((expected.at(-1)?.txId ?? 0) <= lost) {
    await write(cluster, pick);
    expected = await cluster.expected();
  }
  for (const watcher of watchers) watcher.calm();
  await waitForWatchers(watchers, expected.at(-1)?.txId ?? 0);
  await Promise.all(watchers.map((watcher) => watcher.finish()));

  for (const watcher of watchers) {
    expect(watcher.connections).toBeGreaterThan(0);
    for (const segment of watcher.segments) expectSuffix(segment, watcher.filter, expected, before);
    for (const { ended, lastTxId } of watcher.segments) {
      // No watcher is refused if a watch can begin at its position, and none receives notice of a rollback that did not
      // happen.
      if (typeof ended === "object") expect(ended.floor).toBeGreaterThan(lastTxId);
      if (ended === "regressed") expect(regresses).toBe(true);
    }
  }
}

/**
 * Expects a watcher to have received the segment's part of the log or, if a rollback was reported to the watcher, that
 * part of the log as it was before the rollback.
 */
function expectSuffix(
  { from, lastTxId, seen, ended }: WatchedSegment,
  filter: WatchFilter,
  expected: readonly ExpectedTransaction[],
  before: readonly ExpectedTransaction[] | undefined,
): void {
  const history = ended === "regressed" && before !== undefined ? before : expected;
  const wanted = history.flatMap(({ txId, changes }) => {
    const watched = changes.filter((change) => matches(change, filter));
    return txId > from && txId <= lastTxId && watched.length > 0 ? [{ txId, changes: watched }] : [];
  });
  expect(seen).toEqual(wanted);
}

function matches(change: string, { bucket, namespace }: WatchFilter): boolean {
  const [, ofBucket, key = ""] = change.split(" ");
  return (bucket ?? ofBucket) === ofBucket && (namespace === undefined || key.startsWith(`${namespace}/`));
}

async function waitForWatchers(watchers: readonly TortureWatcher[], txId: number): Promise<void> {
  await expect
    .poll(() => Math.min(...watchers.map(({ lastTxId }) => lastTxId)), { timeout: 60_000, interval: 20 })
    .toBeGreaterThanOrEqual(txId);
}

async function write(cluster: WatchedCluster, pick: (count: number) => number): Promise<void> {
  for (let batch = 0; batch < 4; batch += 1) {
    const lines = Array.from({ length: 20 + pick(60) }, () => ({ ops: operations(pick) }));
    await cluster.write(pick(3), lines);
  }
}

/** Returns operations on different keys. */
function operations(pick: (count: number) => number): unknown[] {
  const first = pick(30);
  return Array.from({ length: 1 + pick(3) }, (_, index) => {
    const bucket = pick(2) === 0 ? "pods" : "nodes";
    const key = `${NAMESPACES[pick(3)] ?? ""}/k${first + index}`;
    const kind = pick(10);
    if (kind === 0) return ["match", bucket, key, 1_000_000];
    if (kind < 3) return ["delete", bucket, key];
    return ["put", bucket, key, pick(20) === 0 ? "x".repeat(LARGE_BYTES) : pick(1_000)];
  });
}
