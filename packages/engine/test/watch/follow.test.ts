import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Policies, Position } from "@cairn/client";
import { commitSeed } from "@cairn/kv/testing";
import type { CairnNode } from "../../src/node/node.ts";
import type { StateChange } from "../../src/index/read/states.ts";
import type { FollowEvent, FollowQuery, StatesBatch } from "../../src/watch/follow-session.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { submit } from "@cairn/test-support/nodes/watch-reader";
import { seededPicks } from "@cairn/test-support/seeded-random";
import { documentsNow, sorted, workOnQueue, writeOne } from "./varied-writes.ts";

const SEED = commitSeed();
let folder = "";
let node: CairnNode;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-follow-"));
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  node = await runNode(quietSystem({ folder, nodeId: "node-1", openTxLog }));
  await node.ready;
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

/** A copy of documents that is kept by a follower. */
class Copy {
  readonly documents = new Map<string, string>();
  position: Position | undefined;
  txId = 0;
  complete = false;
  #stop = new AbortController();
  #batches: AsyncIterator<FollowEvent> | undefined;

  /** Applies batches until the copy is complete at `txId` or later. */
  async reach(txId: number, query: FollowQuery = {}): Promise<void> {
    while (!this.complete || this.txId < txId) await this.next(query);
  }

  async next(query: FollowQuery = {}): Promise<StatesBatch> {
    const from = this.position === undefined ? {} : { from: this.position };
    const { signal } = this.#stop;
    this.#batches ??= node.follow({ ...query, ...from, signal })[Symbol.asyncIterator]();
    const { done, value } = await this.#batches.next();
    if (done === true) throw new Error("the batches ended");
    if ("type" in value) return await this.next(query);
    for (const change of value.changes) this.#apply(change);
    ({ position: this.position, txId: this.txId, complete: this.complete } = value);
    return value;
  }

  #apply(change: StateChange): void {
    if (change.op === "clear") {
      const begin = change.bucket === undefined ? "" : `${change.bucket} ${change.namespace}/`;
      for (const key of this.documents.keys()) if (key.startsWith(begin)) this.documents.delete(key);
      return;
    }
    const key = `${change.bucket} ${change.namespace}/${change.name}`;
    if (change.op === "put") this.documents.set(key, `${change.revision} ${change.json}`);
    else this.documents.delete(key);
  }

  /** Stops following. The next batch continues from the position. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#batches?.return?.();
    this.#batches = undefined;
    this.complete = false;
    this.#stop = new AbortController();
  }
}

/** The entries of a retired shard are gone at once for followers, although lists still have them for a while. */
async function followed(buckets: readonly string[]): Promise<Map<string, string>> {
  const documents = await documentsNow(node, buckets);
  const { queue } = await node.queue("mails");
  for (const { shard, state } of queue.shards) {
    if (state !== "retiring") continue;
    for (const key of documents.keys()) if (key.startsWith(`mails ${shard}/`)) documents.delete(key);
  }
  return documents;
}

async function expectLikeLists(seed: number): Promise<void> {
  const picks = seededPicks(seed);
  const buckets = ["plain", "short", "mails"];
  const policies: Policies = {
    history: { "*": { keep: 0 } },
    expire: { short: { after: "PT0.05S" } },
    queues: { mails: { shards: 3, cap: 20, terminal: { state: ["done"] }, lease: "PT1H" } },
  };
  await submit(node, ["configure", policies]);
  const copies = [new Copy(), new Copy()];
  for (let round = 0; round < 40; round += 1) {
    for (let n = picks.below(12); n >= 0; n -= 1) await writeOne(node, picks);
    await workOnQueue(node, picks, round);
    for (const copy of copies) {
      if (picks.below(4) === 0) await copy.stop();
      if (picks.below(3) > 0) continue;
      await copy.reach((await node.list({ bucket: "plain" })).txId);
      expect(sorted(copy.documents)).toEqual(sorted(await followed(buckets)));
    }
  }
  for (const copy of copies) await copy.stop();
}

describe("following", () => {
  it("begins with all documents, and continues with the state of each changed key", async () => {
    await submit(node, ["put", "pods", "a", 1], ["put", "pods", "b", 1], ["put", "other", "c", 1]);
    const copy = new Copy();
    const first = await copy.next({ bucket: "pods" });
    expect(first.changes.map(({ op }) => op)).toEqual(["clear", "put", "put"]);
    await copy.reach(2, { bucket: "pods" });
    const txId = await submit(node, ["put", "pods", "a", 2], ["delete", "pods", "b"]);
    await copy.reach(txId, { bucket: "pods" });
    expect([...copy.documents]).toEqual([["pods default/a", "3 2"]]);
    await copy.stop();
  });

  it("continues from a position, with each key once", async () => {
    await submit(node, ["put", "pods", "a", 1], ["put", "pods", "b", 1]);
    const copy = new Copy();
    await copy.reach(2);
    await copy.stop();
    for (const n of [2, 3, 4]) await submit(node, ["put", "pods", "a", n]);
    const batch = await copy.next();
    const { txTime } = await node.await(5);
    expect(batch.changes).toEqual([
      { op: "put", bucket: "pods", namespace: "default", name: "a", revision: 5, txTime, json: "4" },
    ]);
    await copy.stop();
  });

  it("begins again after a position that the log does not contain", async () => {
    const txId = await submit(node, ["put", "pods", "a", 1]);
    const copy = new Copy();
    copy.position = `${txId}-${"0".repeat(12)}`;
    copy.documents.set("pods default/lost", "2 1");
    await copy.reach(txId);
    expect([...copy.documents]).toEqual([["pods default/a", "2 1"]]);
    await copy.stop();
  });

  it("begins again, within a heartbeat, after a position beyond the end of the log", async () => {
    const txId = await submit(node, ["put", "pods", "a", 1]);
    const copy = new Copy();
    copy.position = `${txId + 100}-${"0".repeat(12)}`;
    await copy.reach(txId, { heartbeatMs: 50 });
    expect([...copy.documents]).toEqual([["pods default/a", "2 1"]]);
    await copy.stop();
  });

  it("clears a shard with the transaction that retires it, although its rows are removed later", async () => {
    const names = Array.from({ length: 600 }, (_, n) => `m${n}`);
    const queue = { shards: 2, cap: 1_000, terminal: { state: ["done"] }, lease: "PT1H" };
    await submit(node, ["configure", { queues: { mails: queue } }]);
    await submit(node, ...names.map((name) => ["enqueue", "mails", name, {}] as const));
    const [shard = 0] = (await node.queue("mails")).queue.shards.map((one) => one.shard);
    const epoch = await submit(node, ["claim", "mails", shard, { as: "me" }]);
    await submit(
      node,
      ...names.map((name) => ["put", "mails", `${shard}/${name}`, { state: "done" }, { epoch }] as const),
    );
    const copy = new Copy();
    await copy.reach(epoch + 1);
    expect(copy.documents.size).toBe(600);
    await copy.stop();
    const drain = await submit(node, ["drain", "mails", shard, { as: "me" }]);
    const retired = await submit(node, ["retire", "mails", shard, drain]);
    expect((await documentsNow(node, ["mails"])).size).toBeGreaterThan(0);
    await copy.reach(retired);
    const newcomer = new Copy();
    await newcomer.reach(retired);
    expect([copy.documents.size, newcomer.documents.size]).toEqual([0, 0]);
    await copy.stop();
    await newcomer.stop();
  });

  const PROMISE = "equals the lists at every complete position";

  it(`${PROMISE} (seed ${SEED})`, async () => await expectLikeLists(SEED));

  it.each([1, 2, 3, 4])(`${PROMISE} (seed %i)`, { tags: "rest/campaign" }, expectLikeLists);
});
