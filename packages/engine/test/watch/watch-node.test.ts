import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { submit, WatchReader } from "@cairn/test-support/nodes/watch-reader";
import { madePosition, positionAfter } from "@cairn/test-support/nodes/positions";

let folder = "";
let node: CairnNode;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-watch-"));
  node = await start();
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<CairnNode> {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  const started = await runNode(quietSystem({ folder, nodeId: "node-1", openTxLog }));
  await started.ready;
  return started;
}

describe("a watch", () => {
  it("begins with its position, and delivers whole transactions in the order of the log", async () => {
    await submit(node, ["put", "pods", "before", 1]);
    await using watch = WatchReader.of(node);
    expect(await watch.next()).toMatchObject({ type: "heartbeat", txId: 2 });
    await submit(node, ["put", "pods", "a", { n: 1 }], ["put", "nodes", "prod/b", 2]);
    await submit(node, ["delete", "pods", "a"]);
    expect(await watch.transactions(2)).toEqual([
      '3: put pods default/a {"n":1}, put nodes prod/b 2',
      "4: delete pods default/a",
    ]);
  });

  it("delivers the past after the given transaction, then new transactions", async () => {
    for (const n of [1, 2, 3]) await submit(node, ["put", "pods", "a", n]);
    await using watch = WatchReader.of(node, { from: await positionAfter(node, 2) });
    expect(await watch.next()).toMatchObject({ type: "heartbeat", txId: 2 });
    const told = watch.transactions(4);
    await submit(node, ["put", "pods", "a", 4]);
    await submit(node, ["put", "pods", "b", 5]);
    expect(await told).toEqual([
      "3: put pods default/a 2",
      "4: put pods default/a 3",
      "5: put pods default/a 4",
      "6: put pods default/b 5",
    ]);
  });

  it("delivers only effective changes: no aborted transactions, duplicates or deletions of missing documents", async () => {
    await node.submit({ id: "once", ops: [["put", "pods", "a", 1]] });
    await node.submit({ id: "once", ops: [["put", "pods", "a", 1]] });
    await submit(node, ["match", "pods", "a", 99], ["put", "pods", "a", 2]);
    await submit(node, ["delete", "pods", "never"]);
    const last = await submit(
      node,
      ["match", "pods", "a", 2],
      ["delete", "pods", "a"],
      ["delete", "pods", "b"],
    );
    await using watch = WatchReader.of(node, { from: "0" });
    expect(await watch.transactions(2)).toEqual([
      "2: put pods default/a 1",
      `${last}: delete pods default/a`,
    ]);
  });

  it("delivers the same changes live and later", async () => {
    await using live = WatchReader.of(node, { from: await positionAfter(node, 1) });
    await live.next();
    await submit(node, ["put", "pods", "a", 1], ["put", "pods", "b/c", 2]);
    await submit(node, ["delete", "pods", "absent"]);
    await submit(node, ["delete", "pods", "a"], ["put", "pods", "\u0000/ü/..", null]);
    await submit(node, ["evict", "pods", "absent"], ["put", "pods", "x", "last"]);
    const told = await live.transactions(3);
    await using later = WatchReader.of(node, { from: await positionAfter(node, 1) });
    expect(await later.transactions(3)).toEqual(told);
  });

  it.each([
    [{ bucket: "pods" }, ["put pods prod/a 1", "put pods default/b 3"]],
    [{ namespace: "prod" }, ["put pods prod/a 1, put nodes prod/a 2", "put nodes prod/b 4"]],
    [{ bucket: "nodes", namespace: "prod" }, ["put nodes prod/a 2", "put nodes prod/b 4"]],
  ])("of %j delivers only these changes, past and new", async (filter, wanted) => {
    const write = async (): Promise<number> => {
      const first = await submit(node, ["put", "pods", "prod/a", 1], ["put", "nodes", "prod/a", 2]);
      await submit(node, ["put", "other", "production/a", 0]);
      await submit(node, ["put", "pods", "default/b", 3], ["put", "nodes", "prod/b", 4]);
      return first;
    };
    const first = await write();
    await using watch = WatchReader.of(node, { ...filter, from: await positionAfter(node, 1) });
    await watch.next();
    expect(await watch.transactions(2)).toEqual([`${first}: ${wanted[0]}`, `${first + 2}: ${wanted[1]}`]);
    const second = await write();
    expect(await watch.transactions(2)).toEqual([`${second}: ${wanted[0]}`, `${second + 2}: ${wanted[1]}`]);
  });

  it("omits evicted documents, and delivers the eviction", async () => {
    await submit(node, ["put", "pods", "secret", 1], ["put", "pods", "a", 1]);
    await submit(node, ["put", "pods", "secret", 2]);
    await using live = WatchReader.of(node, { from: await positionAfter(node, 1) });
    await live.next();
    expect(await live.transactions(2)).toEqual([
      "2: put pods default/secret 1, put pods default/a 1",
      "3: put pods default/secret 2",
    ]);
    await submit(node, ["evict", "pods", "secret"]);
    expect(await live.transactions(1)).toEqual(["4: evict pods default/secret"]);
    await using later = WatchReader.of(node, { from: await positionAfter(node, 1) });
    expect(await later.transactions(2)).toEqual(["2: put pods default/a 1", "4: evict pods default/secret"]);
  });

  it("omits documents that were evicted before a slow reader received them", async () => {
    await using live = WatchReader.of(node);
    await live.next();
    await submit(node, ["put", "pods", "first", 1]);
    await live.transactions(1);
    // These changes are queued for the reader when the eviction happens.
    await submit(node, ["put", "pods", "secret", 1], ["put", "pods", "a", 1]);
    await submit(node, ["evict", "pods", "secret"]);
    await using other = WatchReader.of(node, { from: await positionAfter(node, 3) });
    await other.transactions(1);
    expect(await live.transactions(2)).toEqual(["3: put pods default/a 1", "4: evict pods default/secret"]);
  });

  it("follows a list without a gap", async () => {
    for (let n = 0; n < 5; n += 1) await submit(node, ["put", "pods", `p${n}`, n]);
    const page = await node.list({ bucket: "pods" });
    await submit(node, ["put", "pods", "p9", 9]);
    await using watch = WatchReader.of(node, { bucket: "pods", from: page.position });
    expect(await watch.transactions(1)).toEqual([`${page.txId + 1}: put pods default/p9 9`]);
  });

  it("reports its position while there are no changes that it watches", async () => {
    await using watch = WatchReader.of(node, { bucket: "pods", heartbeatMs: 50 });
    expect(await watch.next()).toMatchObject({ txId: 1 });
    const txId = await submit(node, ["put", "other", "a", 1]);
    await vi.waitFor(async () => expect(await watch.next()).toMatchObject({ type: "heartbeat", txId }));
  });

  it("continues where it was cut off once the node has been restarted", async () => {
    await using watch = WatchReader.of(node);
    await watch.next();
    const txId = await submit(node, ["put", "pods", "a", 1]);
    await watch.transactions(1);
    const cutoff = watch.cutoff();
    await node.close();
    expect(await cutoff).toMatchObject({ type: "cutoff", reason: "stopping", txId });
    expect(await watch.next()).toBeUndefined();
    node = await start();
    await submit(node, ["put", "pods", "b", 2]);
    await using again = WatchReader.of(node, { from: await positionAfter(node, txId) });
    expect(await again.transactions(1)).toEqual([`${txId + 1}: put pods default/b 2`]);
  });

  it("ends without an error when it is aborted", async () => {
    const stop = new AbortController();
    const events = node.watch({ signal: stop.signal })[Symbol.asyncIterator]();
    await events.next();
    const next = events.next();
    stop.abort();
    expect(await next).toEqual({ done: true, value: undefined });
  });

  it.each([
    [{ bucket: "No Bucket" }],
    [{ bucket: "watch" }],
    [{ namespace: "a/b" }],
    [{ heartbeatMs: 0 }],
    [{ heartbeatMs: Number.NaN }],
  ])("of %j is refused with the reason", async (query) => {
    await using watch = WatchReader.of(node, query);
    await expect(watch.next()).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      message: expect.stringContaining("Not a valid watch"),
    });
  });

  it("is refused by a node that is not ready", async () => {
    await node.close();
    await using watch = WatchReader.of(node);
    await expect(watch.next()).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("refuses to continue from a transaction that is not the one that the watcher saw", async () => {
    const txId = await submit(node, ["put", "pods", "a", 1]);
    const { txTime, position } = await node.await(txId);
    await using right = WatchReader.of(node, { from: position });
    expect(await right.next()).toEqual({ type: "heartbeat", txId, txTime, position });
    await using wrong = WatchReader.of(node, { from: madePosition(txId) });
    const regressed = { code: "WATCH_COMPACTED", reason: "regressed", floor: position };
    await expect(wrong.next()).rejects.toMatchObject(regressed);
  });

  it("refuses a transaction that the log does not have, after a comparison with the end of the log", async () => {
    const txId = await submit(node, ["put", "pods", "a", 1]);
    await using ahead = WatchReader.of(node, { from: madePosition(txId + 1), heartbeatMs: 100 });
    expect(await ahead.next()).toMatchObject({ type: "heartbeat", txId, ahead: true });
    expect(await ahead.cutoff()).toMatchObject({ type: "cutoff", reason: "regressed" });
    expect(await ahead.next()).toBeUndefined();
  });

  it.each([7, 1.5, -1, Number.NaN])("refuses %d in place of a position", async (from) => {
    await using watch = WatchReader.of(node, { from: String(from) });
    await expect(watch.next()).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      message: `from must be a position, not "${from}".`,
    });
  });
});
