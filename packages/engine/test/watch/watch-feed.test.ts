import { EventEmitter, once } from "node:events";
import { CairnError } from "@cairn/kv";
import { describe, expect, it, vi } from "vitest";
import { watch } from "../../src/watch/watch-session.ts";
import { fedWatchers } from "./fed-watchers.ts";
import { range, readTo } from "@cairn/test-support/nodes/watch-reader";
import { madePosition } from "@cairn/test-support/nodes/positions";

const fed = fedWatchers();

describe("a feed", () => {
  it("does nothing without watchers, even after the last one has left", async () => {
    fed.append(10);
    expect(fed.source.reads).toEqual([]);
    {
      await using reader = fed.open();
      await reader.next();
      fed.append(1);
      expect(await readTo(reader, 12)).toEqual({ ids: [12] });
    }
    expect(fed.feed.watchers).toBe(0);
    const { length } = fed.source.reads;
    fed.append(10);
    await new Promise((resolve) => setImmediate(resolve));
    expect(fed.source.reads).toHaveLength(length);
  });

  it("reads nothing for watchers that begin at its position", async () => {
    fed.append(10);
    await using now = fed.open();
    expect(await now.next()).toEqual({
      type: "heartbeat",
      txId: 11,
      txTime: new Date(11_000).toISOString(),
      position: madePosition(11),
    });
    await using later = fed.open({ from: madePosition(5) });
    expect(await later.next()).toMatchObject({ type: "heartbeat", txId: 5 });
    expect(fed.source.places).toEqual([5]);
  });

  it.each([
    ["yesterday", /as a list, a watch or an outcome returned it/],
    ["1", /other transactions have the same ids/],
  ])("refuses an invalid beginning (%j), and does not report it as lost", async (from, hint) => {
    await using reader = fed.open({ from });
    const error = { code: "REQUEST_INVALID", message: `from must be a position, not "${from}".`, hint };
    await expect(reader.next()).rejects.toMatchObject(error);
    expect(fed.listened).toEqual([]);
  });

  it("reads changes once, however many watchers there are", async () => {
    const readers = Array.from({ length: 50 }, () => fed.open());
    for (const reader of readers) await reader.next();
    const told = readers.map((reader) => readTo(reader, 101));
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(50));
    fed.append(100);
    for (const one of told) expect(await one).toEqual({ ids: range(2, 101) });
    expect(fed.source.reads.length).toBeLessThan(5);
    await Promise.all(readers.map((reader) => reader[Symbol.asyncDispose]()));
    expect(fed.feed.watchers).toBe(0);
  });

  it("gives watchers of the same changes the same array", async () => {
    const watches = [{}, {}, { bucket: "pods" }].map((query) => {
      const batches = watch(query, () => fed.feed).batches();
      return batches[Symbol.asyncIterator]();
    });
    for (const one of watches) await one.next();
    const next = watches.map((one) => one.next());
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(3));
    fed.append(5);
    const [left, right, other] = await Promise.all(next);
    expect(left?.value).toHaveLength(5);
    expect(right?.value).toBe(left?.value);
    expect(other?.value).toEqual(left?.value);
    for (const one of watches) await one.return?.();
  });

  it("delivers everything once while more arrives than a page holds and watchers join and leave", async () => {
    fed.begin({ pageTransactions: 7, recentTransactions: 20 });
    fed.append(300);
    const readers = [0, 50, 150, 299].map((from) => ({
      from,
      reader: fed.open({ from: madePosition(from) }),
    }));
    const told = readers.map(({ reader }) => readTo(reader, 1_001));
    for (let n = 0; n < 70; n += 1) {
      fed.append(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const [index, one] of (await Promise.all(told)).entries()) {
      expect(one).toEqual({ ids: range(Math.max(2, (readers[index]?.from ?? 0) + 1), 1_001) });
    }
    await Promise.all(readers.map(({ reader }) => reader[Symbol.asyncDispose]()));
  });
});

describe("a watcher that has read further than the feed had published", () => {
  it("receives nothing twice", async () => {
    const gate = new EventEmitter();
    await using first = fed.open();
    await first.next();
    const told = readTo(first, 21);
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(1));
    fed.source.before = async (bucket) => void (bucket === undefined && (await once(gate, "open")));
    fed.append(10);
    await using second = fed.open({ bucket: "pods", from: madePosition(0) });
    expect(await readTo(second, 11)).toEqual({ ids: range(2, 11) });
    const rest = readTo(second, 21);
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(2));
    fed.append(10);
    gate.emit("open");
    expect(await told).toEqual({ ids: range(2, 21) });
    expect(await rest).toEqual({ ids: range(12, 21) });
  });
});

describe("the past", () => {
  it("is refused, if it was removed, with the first transaction at which a watch can begin", async () => {
    fed.append(100);
    fed.source.floor = 50;
    await using gone = fed.open({ from: madePosition(49) });
    await expect(gone.next()).rejects.toMatchObject({ code: "WATCH_COMPACTED", floor: madePosition(50) });
    await using there = fed.open({ from: madePosition(50) });
    expect(await readTo(there, 101)).toEqual({ ids: range(51, 101) });
  });

  it("ends the watch at its position if it is removed while it is read", async () => {
    fed.append(2_000);
    await using reader = fed.open({ from: madePosition(1) });
    await reader.next();
    const first = await reader.transactions(500);
    fed.source.floor = 1_500;
    expect(first).toHaveLength(500);
    // The rest of the page that was already read is delivered.
    const { ids, cutoff } = await readTo(reader, 2_001);
    expect(ids).toEqual(range(502, 512));
    expect(cutoff).toMatchObject({ reason: "compacted", txId: 512 });
  });
});

describe("a watcher that is ahead of the node", () => {
  it("waits as long as the log contains its position, or the node cannot tell, and then misses nothing", async () => {
    fed.source.end = 4;
    await using reader = fed.open({ from: madePosition(4), heartbeatMs: 10 });
    for (const end of [4, undefined, 5]) {
      fed.source.end = end;
      expect(await reader.next()).toMatchObject({ type: "heartbeat", txId: 1, ahead: true });
    }
    expect(fed.source.comparisons).toBe(2);
    fed.append(4);
    expect(await readTo(reader, 5)).toEqual({ ids: [5] });
  });

  it("is cut off once the log turns out to end before its position", async () => {
    await using reader = fed.open({ from: madePosition(4), heartbeatMs: 10 });
    expect(await reader.next()).toMatchObject({ ahead: true, position: madePosition(1) });
    fed.source.end = 3;
    expect(await reader.cutoff()).toMatchObject({ reason: "regressed" });
    expect(await reader.next()).toBeUndefined();
    expect(fed.listened).toEqual(["opened", "cut off: regressed", "closed"]);
  });
});

describe("a feed that lags so far behind that the next changes were removed", () => {
  it("cuts off the watchers that need them, and continues for all others", async () => {
    const gate = new EventEmitter();
    await using reader = fed.open();
    await using other = fed.open({ bucket: "pods" });
    await reader.next();
    await other.next();
    fed.append(1);
    await readTo(reader, 2);
    await readTo(other, 2);
    fed.source.before = async (bucket) => void (bucket === undefined && (await once(gate, "open")));
    const told = readTo(reader, 12);
    fed.append(10);
    await vi.waitFor(() => expect(fed.source.reads.at(-1)).toBe(2));
    fed.source.floor = 8;
    fed.source.before = () => Promise.resolve();
    gate.emit("open");
    expect(await told).toMatchObject({ ids: [], cutoff: { reason: "compacted", txId: 2 } });
    await using again = fed.open({ from: madePosition(8) });
    expect(await readTo(again, 12)).toEqual({ ids: range(9, 12) });
    fed.append(1);
    expect(await readTo(again, 13)).toEqual({ ids: [13] });
    expect(await readTo(other, 13)).toMatchObject({ cutoff: { reason: "compacted", txId: 2 } });
    expect(fed.errors).toEqual([]);
  });
});

describe("a feed that cannot read", () => {
  it("cuts off its watchers at their position, with the reason", async () => {
    await using reader = fed.open();
    await reader.next();
    fed.append(1);
    await readTo(reader, 2);
    fed.source.error = new CairnError("INDEX_CORRUPT", "The index is damaged.");
    fed.append(1);
    expect(await readTo(reader, 3)).toMatchObject({
      ids: [],
      cutoff: { reason: "not-ready", txId: 2, message: "The index is damaged." },
    });
    expect(fed.errors).toEqual(["INDEX_CORRUPT"]);
  });

  it("delivers nothing that was read from an index that the node has since left", async () => {
    const gate = new EventEmitter();
    await using reader = fed.open();
    await reader.next();
    fed.append(1);
    await readTo(reader, 2);
    fed.source.before = async () => void (await once(gate, "open"));
    fed.append(1);
    await vi.waitFor(() => expect(fed.source.reads.at(-1)).toBe(2));
    fed.feed.end({ reason: "not-ready", message: "The node is closing its index." });
    gate.emit("open");
    // The reader sees the page only after the read has ended.
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(await readTo(reader, 3)).toMatchObject({ ids: [], cutoff: { reason: "not-ready", txId: 2 } });
  });

  it("also delivers no past changes that were read from an index that the node has since left", async () => {
    const gate = new EventEmitter();
    fed.append(2_000);
    await using reader = fed.open({ from: madePosition(1) });
    await reader.next();
    fed.source.before = async () => void (await once(gate, "open"));
    const told = readTo(reader, 2);
    await vi.waitFor(() => expect(fed.source.reads).toEqual([1]));
    fed.feed.end({ reason: "not-ready", message: "The node is closing its index." });
    gate.emit("open");
    expect(await told).toMatchObject({ ids: [], cutoff: { reason: "not-ready", txId: 1 } });
  });
});
