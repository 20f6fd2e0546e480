import { EventEmitter, once } from "node:events";
import { CairnError } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventStreamText } from "../../src/http/event-stream.ts";
import type { WatchEvent, WatchQuery } from "../../src/watch/watch-event.ts";
import { watch } from "../../src/watch/watch-session.ts";
import type { FeedBounds, WatchFeed } from "../../src/watch/watch-feed.ts";
import { ScriptedSource, scriptedFeed } from "./scripted-source.ts";
import { WatchReader } from "./watch-reader.ts";

let source: ScriptedSource;
let feed: WatchFeed;
let errors: string[];
let listened: string[];
let append: ScriptedSource["append"];
beforeEach(() => begin());
afterEach(() => feed.end({ reason: "stopping", message: "The test is over." }));

function begin(bounds: Partial<FeedBounds> = {}): void {
  source = new ScriptedSource();
  ({ feed, errors, told: listened, append } = scriptedFeed(source, bounds));
}

function open(query: WatchQuery = {}): WatchReader {
  return new WatchReader((asked) => watch(asked, () => feed), query);
}

/** Transactions up to the id `last`, and how the watch ended if it did before. */
async function readTo(reader: WatchReader, last: number): Promise<{ ids: number[]; cutoff?: WatchEvent }> {
  const ids: number[] = [];
  for (;;) {
    const event = await reader.next();
    if (event === undefined || event.type === "cutoff")
      return event === undefined ? { ids } : { ids, cutoff: event };
    if (event.type === "tx") ids.push(event.txId);
    if (ids.at(-1) === last) return { ids };
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

describe("a feed", () => {
  it("does nothing while nobody watches, and again once nobody does any more", async () => {
    append(10);
    expect(source.reads).toEqual([]);
    {
      await using reader = open();
      await reader.next();
      append(1);
      expect(await readTo(reader, 12)).toEqual({ ids: [12] });
    }
    expect(feed.watchers).toBe(0);
    const { length } = source.reads;
    append(10);
    await new Promise((resolve) => setImmediate(resolve));
    expect(source.reads).toHaveLength(length);
  });

  it("reads nothing for those who begin where it stands", async () => {
    append(10);
    await using now = open();
    expect(await now.next()).toEqual({ type: "heartbeat", txId: 11, txTime: new Date(11_000).toISOString() });
    await using later = open({ from: 5 });
    expect(await later.next()).toMatchObject({ type: "heartbeat", txId: 5 });
    expect(source.places).toEqual([5]);
  });

  it("reads what comes once, however many watch", async () => {
    const readers = Array.from({ length: 50 }, () => open());
    for (const reader of readers) await reader.next();
    const told = readers.map((reader) => readTo(reader, 101));
    await vi.waitFor(() => expect(feed.watchers).toBe(50));
    append(100);
    for (const one of told) expect(await one).toEqual({ ids: range(2, 101) });
    expect(source.reads.length).toBeLessThan(5);
    await Promise.all(readers.map((reader) => reader[Symbol.asyncDispose]()));
    expect(feed.watchers).toBe(0);
  });

  it("gives watchers of the same changes the same array", async () => {
    const watches = [{}, {}, { bucket: "pods" }].map((query) => {
      const batches = watch(query, () => feed).batches();
      return batches[Symbol.asyncIterator]();
    });
    for (const one of watches) await one.next();
    const next = watches.map((one) => one.next());
    await vi.waitFor(() => expect(feed.watchers).toBe(3));
    append(5);
    const [left, right, other] = await Promise.all(next);
    expect(left?.value).toHaveLength(5);
    expect(right?.value).toBe(left?.value);
    expect(other?.value).toEqual(left?.value);
    for (const one of watches) await one.return?.();
  });

  it("keeps the recent past for those who come back, so that nothing is read anew for them", async () => {
    await using first = open();
    await first.next();
    append(20);
    await readTo(first, 21);
    const { length } = source.reads;
    await using second = open({ from: 11 });
    expect(await readTo(second, 21)).toEqual({ ids: range(12, 21) });
    expect(source.reads).toHaveLength(length);
  });

  it("bounds the recent past, and lets those who are farther behind read by themselves", async () => {
    begin({ recentTransactions: 10 });
    await using first = open();
    await first.next();
    for (let n = 0; n < 5; n += 1) {
      append(10);
      await readTo(first, 11 + 10 * n);
    }
    await using second = open({ from: 1 });
    expect(await readTo(second, 51)).toEqual({ ids: range(2, 51) });
    append(3);
    expect(await readTo(second, 54)).toEqual({ ids: range(52, 54) });
    expect(await readTo(first, 54)).toEqual({ ids: range(52, 54) });
  });

  it("keeps the recent past however much it has told", async () => {
    begin({ recentBytes: 20_000 });
    await using first = open();
    await first.next();
    for (let n = 0; n < 100; n += 1) {
      append(10);
      await readTo(first, 11 + 10 * n);
    }
    const { length } = source.reads;
    await using second = open({ from: 981 });
    expect(await readTo(second, 1_001)).toEqual({ ids: range(982, 1_001) });
    expect(source.reads).toHaveLength(length);
  });

  it("gives those who come back the recent past in pages, and those at the same place the same ones", async () => {
    await using first = open();
    await first.next();
    for (const last of [1_001, 2_001, 3_001]) {
      append(1_000, { bytes: 800 });
      await readTo(first, last);
    }
    const { length } = source.reads;
    const watches = Array.from({ length: 100 }, () => watch({ from: 1 }, () => feed).batches());
    const batches = watches.map((one) => one[Symbol.asyncIterator]());
    for (const one of batches) await one.next();
    const ids: number[] = [];
    while (ids.at(-1) !== 3_001) {
      const given = await Promise.all(batches.map(async (one) => (await one.next()).value));
      const [page] = given;
      // Of 2.8 MB that everybody has yet to read no more than this is written at once.
      expect(eventStreamText(page ?? []).length).toBeLessThan(128 * 1024);
      if (feed.watchers === 1) expect(new Set(given).size).toBe(1);
      for (const event of page ?? []) if (event.type === "tx") ids.push(event.txId);
    }
    expect(ids).toEqual(range(2, 3_001));
    expect(source.reads).toHaveLength(length);
    for (const one of batches) await one.return?.();
  });

  it("does not cut off who comes back to more than may wait, whatever comes meanwhile", async () => {
    begin({ queue: { bytes: 10_000, batches: 4 }, recentPageBytes: 1_000 });
    await using first = open();
    await first.next();
    append(500);
    await readTo(first, 501);
    await using second = open({ from: 1 });
    await second.next();
    for (let n = 0; n < 40; n += 1) {
      await second.transactions(5);
      append(1);
      await readTo(first, 502 + n);
    }
    expect(await readTo(second, 541)).toEqual({ ids: range(202, 541) });
    expect(listened).not.toContain("cut off: slow");
  });

  it("tells everything once while more comes than a page holds and watchers come and go", async () => {
    begin({ pageTransactions: 7, recentTransactions: 20 });
    append(300);
    const readers = [0, 50, 150, 299].map((from) => ({ from, reader: open({ from }) }));
    const told = readers.map(({ reader }) => readTo(reader, 1_001));
    for (let n = 0; n < 70; n += 1) {
      append(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const [index, one] of (await Promise.all(told)).entries()) {
      expect(one).toEqual({ ids: range(Math.max(2, (readers[index]?.from ?? 0) + 1), 1_001) });
    }
    await Promise.all(readers.map(({ reader }) => reader[Symbol.asyncDispose]()));
  });
});

describe("a watcher that read farther than the feed had published by then", () => {
  it("is told nothing twice", async () => {
    const gate = new EventEmitter();
    await using first = open();
    await first.next();
    const told = readTo(first, 21);
    await vi.waitFor(() => expect(feed.watchers).toBe(1));
    source.before = async (bucket) => void (bucket === undefined && (await once(gate, "open")));
    append(10);
    await using second = open({ bucket: "pods", from: 0 });
    expect(await readTo(second, 11)).toEqual({ ids: range(2, 11) });
    const rest = readTo(second, 21);
    await vi.waitFor(() => expect(feed.watchers).toBe(2));
    append(10);
    gate.emit("open");
    expect(await told).toEqual({ ids: range(2, 21) });
    expect(await rest).toEqual({ ids: range(12, 21) });
  });
});

describe("a slow reader", () => {
  it("is cut off with the place to resume from, and loses nothing when it resumes there", async () => {
    begin({ queue: { bytes: 20_000, batches: 100 } });
    await using fast = open();
    await using slow = open();
    await fast.next();
    await slow.next();
    append(5);
    const before = await slow.transactions(5);
    await readTo(fast, 6);
    for (let n = 0; n < 40; n += 1) {
      append(10, { bytes: 100 });
      await readTo(fast, 16 + 10 * n);
    }
    const { ids, cutoff } = await readTo(slow, 406);
    expect(ids).toEqual([]);
    expect(cutoff).toMatchObject({ reason: "slow", txId: 6, txTime: new Date(6_000).toISOString() });
    expect(await slow.next()).toBeUndefined();
    await using again = open({ from: 6 });
    expect(before).toHaveLength(5);
    expect(listened).toEqual(["opened", "opened", "cut off: slow", "closed"]);
    expect(await readTo(again, 406)).toEqual({ ids: range(7, 406) });
    expect(errors).toEqual([]);
  });

  it("is not cut off for one transaction that is larger than what may wait", async () => {
    begin({ queue: { bytes: 1_000, batches: 100 } });
    await using reader = open();
    await reader.next();
    const told = readTo(reader, 2);
    await vi.waitFor(() => expect(feed.watchers).toBe(1));
    append(1, { bytes: 5_000 });
    expect(await told).toEqual({ ids: [2] });
  });

  it("of the past is never cut off: it is read as it takes it", async () => {
    begin({ queue: { bytes: 1_000, batches: 2 }, recentTransactions: 5 });
    append(5_000);
    await using reader = open({ from: 0 });
    await reader.next();
    const seen = await reader.transactions(1);
    append(3_000);
    expect(seen).toHaveLength(1);
    expect(await readTo(reader, 8_001)).toEqual({ ids: range(3, 8_001) });
  });
});

describe("the past", () => {
  it("that is gone is refused with where a watch can begin", async () => {
    append(100);
    source.floor = 50;
    await using gone = open({ from: 49 });
    await expect(gone.next()).rejects.toMatchObject({ code: "WATCH_COMPACTED", floor: 50 });
    await using there = open({ from: 50 });
    expect(await readTo(there, 101)).toEqual({ ids: range(51, 101) });
  });

  it("that goes while it is read ends the watch where it stands", async () => {
    append(2_000);
    await using reader = open({ from: 1 });
    await reader.next();
    const first = await reader.transactions(500);
    source.floor = 1_500;
    expect(first).toHaveLength(500);
    const { ids, cutoff } = await readTo(reader, 2_001);
    expect(ids).toEqual([]);
    expect(cutoff).toMatchObject({ reason: "compacted", txId: 501 });
  });
});

describe("a feed that is so far behind that what comes next is gone", () => {
  it("cuts off those who need it, and goes on for all others", async () => {
    const gate = new EventEmitter();
    await using reader = open();
    await using other = open({ bucket: "pods" });
    await reader.next();
    await other.next();
    append(1);
    await readTo(reader, 2);
    await readTo(other, 2);
    source.before = async (bucket) => void (bucket === undefined && (await once(gate, "open")));
    const told = readTo(reader, 12);
    append(10);
    await vi.waitFor(() => expect(source.reads.at(-1)).toBe(2));
    source.floor = 8;
    source.before = () => Promise.resolve();
    gate.emit("open");
    expect(await told).toMatchObject({ ids: [], cutoff: { reason: "compacted", txId: 2 } });
    await using again = open({ from: 8 });
    expect(await readTo(again, 12)).toEqual({ ids: range(9, 12) });
    append(1);
    expect(await readTo(again, 13)).toEqual({ ids: [13] });
    expect(await readTo(other, 13)).toMatchObject({ cutoff: { reason: "compacted", txId: 2 } });
    expect(errors).toEqual([]);
  });
});

describe("a feed that cannot read", () => {
  it("cuts its watchers off where they stand, and says why", async () => {
    await using reader = open();
    await reader.next();
    append(1);
    await readTo(reader, 2);
    source.error = new CairnError("INDEX_CORRUPT", "The index is damaged.");
    append(1);
    expect(await readTo(reader, 3)).toMatchObject({
      ids: [],
      cutoff: { reason: "not-ready", txId: 2, message: "The index is damaged." },
    });
    expect(errors).toEqual(["INDEX_CORRUPT"]);
  });

  it("tells nothing that was read of an index which the node has left meanwhile", async () => {
    const gate = new EventEmitter();
    await using reader = open();
    await reader.next();
    append(1);
    await readTo(reader, 2);
    source.before = async () => void (await once(gate, "open"));
    append(1);
    await vi.waitFor(() => expect(source.reads.at(-1)).toBe(2));
    feed.end({ reason: "not-ready", message: "The node leaves its index." });
    gate.emit("open");
    // The reader comes to it only after the read has ended.
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(await readTo(reader, 3)).toMatchObject({ ids: [], cutoff: { reason: "not-ready", txId: 2 } });
  });

  it("tells nothing of the past either that was read of such an index", async () => {
    const gate = new EventEmitter();
    append(2_000);
    await using reader = open({ from: 1 });
    await reader.next();
    source.before = async () => void (await once(gate, "open"));
    const told = readTo(reader, 2);
    await vi.waitFor(() => expect(source.reads).toEqual([1]));
    feed.end({ reason: "not-ready", message: "The node leaves its index." });
    gate.emit("open");
    expect(await told).toMatchObject({ ids: [], cutoff: { reason: "not-ready", txId: 1 } });
  });
});
