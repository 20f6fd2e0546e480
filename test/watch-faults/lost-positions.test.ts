import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient } from "@cairn/client";
import { systemClock } from "@cairn/kv";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { runCairn } from "@cairn/test-support/cairn-process";
import { positionAfter } from "@cairn/test-support/nodes/positions";
import { submit, WatchReader } from "@cairn/test-support/nodes/watch-reader";
import { type CairnNode, type Position, startNode } from "@cairn/node";

const HOUR_MS = 3_600_000;
const REGRESSED = {
  code: "WATCH_COMPACTED",
  message: /no longer contains transaction 5 as the watcher received it/,
};

let cwd = "";
let node: CairnNode;

beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), "cairn-lost-positions-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  await start();
  onTestFinished(() => node.close());
});

async function start(): Promise<void> {
  const config = { "cairn/node": { id: "n", dir: cwd }, "cairn/http-server": { host: "127.0.0.1", port: 0 } };
  node = await startNode(config, { env: {}, cwd });
  await node.ready;
}

async function put(...names: readonly string[]): Promise<void> {
  for (const name of names) await submit(node, ["put", "pods", name, 1]);
}

/** Makes the log lose everything that `write` writes, as when its disk is replaced with an older copy. */
async function lose<T>(write: () => Promise<T>): Promise<T> {
  const [log, copy] = [path.join(cwd, "n-log"), path.join(cwd, "copy")];
  await node.close();
  await cp(log, copy, { recursive: true });
  await start();
  const written = await write();
  await node.close();
  await rm(log, { recursive: true });
  await cp(copy, log, { recursive: true });
  await start();
  return written;
}

/** Writes a, and b, c and d, which the log loses. Returns the position after them. */
async function losePosition(): Promise<Position> {
  await put("a");
  return await lose(async () => {
    await put("b", "c", "d");
    const { position } = await node.list({ bucket: "pods" });
    expect(position).toMatch(/^5-[0-9a-f]{12}$/);
    return position;
  });
}

const SHARD = { queue: "jobs", shard: 0 };
const B = { bucket: "pods", namespace: "default", name: "b" };

function streamOf(from: Position): Promise<Response> {
  return fetch(`${node.url ?? ""}/api/v1/watch?heartbeat=PT0.1S&from=${from}`);
}

async function expectRefusal(position: Position): Promise<void> {
  await using embedded = WatchReader.of(node, { from: position });
  await expect(embedded.next()).rejects.toMatchObject({ ...REGRESSED, reason: "regressed" });
  const response = await streamOf(position);
  expect(response.status).toBe(410);
  const present = (await node.list({ bucket: "pods" })).position;
  expect(await response.json()).toMatchObject({ error: REGRESSED, reason: "regressed", floor: present });
  const client = new CairnClient({ urls: node.url ?? "" });
  await expect(client.watch({ from: position }).next()).rejects.toMatchObject(REGRESSED);
  const printed = await runCairn(["watch", "--from", position, "--limit", "1", "--url", node.url ?? ""]);
  expect([printed.code, printed.stdout]).toEqual([1, ""]);
  expect(printed.stderr).toMatch(/^WATCH_COMPACTED: The log no longer contains transaction 5/);
}

describe("a position that the log has lost", () => {
  it("is refused although there is another transaction with its id", { tags: "rest/slow" }, async () => {
    const position = await losePosition();
    await put("e", "f", "g", "h");
    await expectRefusal(position);
    expect(await positionAfter(node, 5)).not.toBe(position);
    await using other = WatchReader.of(node, { from: await positionAfter(node, 5) });
    expect(await other.transactions(1)).toEqual(["6: put pods default/h 1"]);
  });

  it("is refused although all transactions of both histories have the same time", async () => {
    // The clock was ahead when the first transaction was stored.
    const now = vi.spyOn(systemClock, "now").mockReturnValue(Date.now() + HOUR_MS);
    await put("first");
    now.mockRestore();
    const { txTime } = await node.await(2);
    await put("a");
    const { position, cursor = "" } = await lose(async () => {
      await put("b", "c");
      return await node.list({ bucket: "pods", limit: 1 });
    });
    await put("d", "e", "f");
    expect((await node.await(5)).txTime).toBe(txTime);
    await expectRefusal(position);
    await expect(node.list({ bucket: "pods", limit: 1, cursor })).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      message: /belongs to a history that the log has lost/,
    });
  });

  it("is refused within a heartbeat while the log ends before it", async () => {
    const position = await losePosition();
    await put("e");
    await using embedded = WatchReader.of(node, { from: position, heartbeatMs: 100 });
    expect(await embedded.next()).toMatchObject({ type: "heartbeat", txId: 3, ahead: true });
    expect(await embedded.cutoff()).toMatchObject({ reason: "regressed", message: REGRESSED.message });
    const text = await (await streamOf(position)).text();
    expect(text).toMatch(/event: heartbeat\ndata: \{"txId":3,.*"ahead":true\}\n/);
    expect(text).toMatch(/event: cutoff\ndata: .*"reason":"regressed"/);
    // An EventSource must not resume after any of these events.
    expect(text).not.toMatch(/^id:/m);
  });

  it(
    "is also refused for clients, within the ten seconds of their heartbeats",
    { tags: "rest/slow" },
    async () => {
      const position = await losePosition();
      const client = new CairnClient({ urls: node.url ?? "" });
      const [refused, printed] = await Promise.all([
        client
          .watch({ from: position })
          .next()
          .catch((error: unknown) => error),
        runCairn(["watch", "--from", position, "--url", node.url ?? ""]),
      ]);
      expect(refused).toMatchObject(REGRESSED);
      expect([printed.code, printed.stdout]).toEqual([1, ""]);
      expect(printed.stderr).toMatch(/^WATCH_COMPACTED: The log no longer contains transaction 5/);
    },
  );

  it(
    "does not stop clients that follow documents: their copies begin again, before the log reaches it",
    { tags: "rest/slow" },
    async () => {
      const stop = new AbortController();
      // The node has another port after each start.
      const client = new CairnClient({
        urls: "http://node",
        fetch: (input, init) => fetch(String(input).replace("http://node", node.url ?? ""), init),
      });
      const copy = new Set<string>();
      const following = (async () => {
        for await (const { changes } of client.follow({ bucket: "pods", signal: stop.signal }))
          for (const change of changes)
            if (change.op === "clear") copy.clear();
            else if (change.op === "put") copy.add(change.name);
      })();
      await put("a");
      await lose(async () => {
        await put("b", "c", "d");
        await expect.poll(() => [...copy].toSorted()).toEqual(["a", "b", "c", "d"]);
      });
      await put("e");
      const newcomer = client.follow({ bucket: "pods", from: "9999-3bdc26c40f93" });
      const first = (await newcomer.next()).value;
      expect(first?.changes.map(({ op }) => op)).toEqual(["clear", "put", "put"]);
      await newcomer.return();
      await expect.poll(() => [...copy].toSorted(), { timeout: 30_000 }).toEqual(["a", "e"]);
      stop.abort();
      await following;
    },
  );

  it("is refused in cursors of histories, open entries, evictions and events", async () => {
    const limit = 1;
    const write = async (): Promise<void> => {
      await put("b");
      await submit(node, ["put", "pods", "b", 2], ["evict", "pods", "x"], ["evict", "pods", "y"]);
      await submit(node, ["enqueue", "jobs", "one", {}], ["enqueue", "jobs", "two", {}]);
      await submit(node, ["event", { object: "pod/b", reason: "Lost" }]);
    };
    const jobs = { shards: 1, cap: 9, terminal: { state: ["done"] }, lease: "PT30S" };
    const [x, y] = [["put", "pods", "x", 1] as const, ["put", "pods", "y", 1] as const];
    // This event is not lost, but what follows it on the next page is.
    const kept = ["event", { object: "pod/b", reason: "Kept", time: "9223372036854775807" }] as const;
    await submit(node, ["configure", { queues: { jobs } }], x, y, kept);
    const [history = "", entries = "", evictions = "", events = ""] = await lose(async () => {
      await write();
      return [
        (await node.history(B, { limit })).cursor,
        (await node.openEntries({ ...SHARD, limit })).cursor,
        (await node.evictions({ limit })).cursor,
        (await node.events({ limit })).cursor,
      ];
    });
    await write();
    const lost = { code: "REQUEST_INVALID", message: /belongs to a history that the log has lost/ };
    await expect(node.history(B, { limit, cursor: history })).rejects.toMatchObject(lost);
    await expect(node.openEntries({ ...SHARD, limit, cursor: entries })).rejects.toMatchObject(lost);
    await expect(node.evictions({ limit, cursor: evictions })).rejects.toMatchObject(lost);
    await expect(node.events({ limit, cursor: events })).rejects.toMatchObject(lost);
    const { cursor = "" } = await node.history(B, { limit });
    expect((await node.history(B, { limit, cursor })).versions).toMatchObject([{ revision: 3, json: "1" }]);
  });
});

describe("a position", () => {
  it("is not a number, except 0, which is the beginning of the log", { tags: "rest/slow" }, async () => {
    await put("a");
    const answer = await streamOf("2");
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      error: {
        code: "REQUEST_INVALID",
        message: 'from must be a position, not "2".',
        hint: /cairn tx show 2 /,
      },
    });
    const headers = { "last-event-id": "2", accept: "text/event-stream" };
    expect((await fetch(`${node.url ?? ""}/api/v1/watch`, { headers })).status).toBe(400);
    const refused = await runCairn(["watch", "--from", "2", "--url", node.url ?? ""]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/cairn tx show .*2 prints/)]);
    const all = await runCairn(["watch", "--from", "0", "--limit", "1", "--json", "--url", node.url ?? ""]);
    expect(JSON.parse(all.stdout)).toMatchObject({ txId: 2, position: await positionAfter(node, 2) });
    const shown = await runCairn(["tx", "show", "2", "--url", node.url ?? ""]);
    expect(shown.stdout).toContain(await positionAfter(node, 2));
  });

  it("comes with every write, list, open entry and outcome", async () => {
    await put("a");
    const position = await positionAfter(node, 2);
    const client = new CairnClient({ urls: node.url ?? "" });
    expect((await client.page("pods")).position).toBe(position);
    expect((await node.await(2)).position).toBe(position);
    const outcome = await client.transact({ ops: [["put", "pods", "b", 1]] });
    expect(outcome.position).toBe(await positionAfter(node, outcome.txId));
    expect(outcome.position).not.toBe(position);
  });
});
