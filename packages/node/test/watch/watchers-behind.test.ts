import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventStreamText } from "../../src/http/event-stream.ts";
import type { WatchQuery } from "../../src/watch/watch-event.ts";
import { watch } from "../../src/watch/watch-session.ts";
import type { FeedBounds, WatchFeed } from "../../src/watch/watch-feed.ts";
import { ScriptedSource, scriptedFeed } from "./scripted-source.ts";
import { range, readTo, WatchReader } from "./watch-reader.ts";

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

describe("who comes back to a feed", () => {
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
