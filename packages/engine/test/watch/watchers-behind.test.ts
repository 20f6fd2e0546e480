import { setImmediate } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { eventStreamText } from "@cairn/http/src/routes/watch";
import { watch } from "../../src/watch/watch-session.ts";
import { fedWatchers } from "./fed-watchers.ts";
import { range, readTo } from "@cairn/test-support/nodes/watch-reader";
import { madePosition } from "@cairn/test-support/nodes/positions";

const fed = fedWatchers();

describe("a watcher that reconnects to a feed", () => {
  it("receives the recent past, so that nothing is read again for it", async () => {
    await using first = fed.open();
    await first.next();
    fed.append(20);
    await readTo(first, 21);
    const { length } = fed.source.reads;
    await using second = fed.open({ from: madePosition(11) });
    expect(await readTo(second, 21)).toEqual({ ids: range(12, 21) });
    expect(fed.source.reads).toHaveLength(length);
  });

  it("reads by itself if it is further behind than the bounded recent past", async () => {
    fed.begin({ recentTransactions: 10 });
    await using first = fed.open();
    await first.next();
    for (let n = 0; n < 5; n += 1) {
      fed.append(10);
      await readTo(first, 11 + 10 * n);
    }
    await using second = fed.open({ from: madePosition(1) });
    expect(await readTo(second, 51)).toEqual({ ids: range(2, 51) });
    fed.append(3);
    expect(await readTo(second, 54)).toEqual({ ids: range(52, 54) });
    expect(await readTo(first, 54)).toEqual({ ids: range(52, 54) });
  });

  it("receives the recent past, however much was published before it", async () => {
    fed.begin({ recentBytes: 20_000 });
    await using first = fed.open();
    await first.next();
    for (let n = 0; n < 100; n += 1) {
      fed.append(10);
      await readTo(first, 11 + 10 * n);
    }
    const { length } = fed.source.reads;
    await using second = fed.open({ from: madePosition(981) });
    expect(await readTo(second, 1_001)).toEqual({ ids: range(982, 1_001) });
    expect(fed.source.reads).toHaveLength(length);
  });

  it("receives the recent past in pages, which watchers at the same position share", async () => {
    await using first = fed.open();
    await first.next();
    for (const last of [1_001, 2_001, 3_001]) {
      fed.append(1_000, { bytes: 800 });
      await readTo(first, last);
    }
    const { length } = fed.source.reads;
    const watches = Array.from({ length: 100 }, () =>
      watch({ from: madePosition(1) }, () => fed.feed).batches(),
    );
    const batches = watches.map((one) => one[Symbol.asyncIterator]());
    for (const one of batches) await one.next();
    const ids: number[] = [];
    while (ids.at(-1) !== 3_001) {
      const given = await Promise.all(batches.map(async (one) => (await one.next()).value));
      const [page] = given;
      // Every watcher still has to read 2.8 MB, of which no more than this is written at a time.
      expect(eventStreamText(page ?? []).length).toBeLessThan(128 * 1024);
      if (fed.feed.watchers === 1) expect(new Set(given).size).toBe(1);
      for (const event of page ?? []) if (event.type === "tx") ids.push(event.txId);
    }
    expect(ids).toEqual(range(2, 3_001));
    expect(fed.source.reads).toHaveLength(length);
    for (const one of batches) await one.return?.();
  });

  it("does not receive a transaction again with what ends its watch, or shows that the watch lives", async () => {
    fed.begin({ recentPageBytes: 1_000 });
    await using first = fed.open();
    await first.next();
    fed.append(100);
    await readTo(first, 101);
    await using live = fed.open({ from: madePosition(1), heartbeatMs: 1 });
    await using ended = fed.open({ from: madePosition(1) });
    const { ids } = await readTo(live, 101);
    expect(ids).toEqual(range(2, 101));
    expect(await live.next()).toEqual({
      type: "heartbeat",
      txId: 101,
      position: madePosition(101),
      txTime: expect.any(String) as string,
    });
    const before = await readTo(ended, 5);
    fed.feed.end({ reason: "stopping", message: "The node stops." });
    const after = await readTo(ended, 102);
    expect([...before.ids, ...after.ids]).toEqual(range(2, (after.cutoff as { txId: number }).txId));
    expect(after.cutoff).toMatchObject({ type: "cutoff", reason: "stopping" });
    expect(after.cutoff).not.toHaveProperty("changes");
  });

  it("is not cut off while it takes what was there when it connected, however slowly", async () => {
    fed.begin({ pageBytes: 2_000, queue: { bytes: 5_000, batches: 100 } });
    fed.append(400, { bytes: 100 });
    await using reader = fed.open({ from: madePosition(1) });
    for (let last = 21; last <= 401; last += 20) {
      expect(await readTo(reader, last)).toEqual({ ids: range(last - 19, last) });
      // Meanwhile, the feed publishes as much as fits, and more.
      for (let turn = 0; turn < 100; turn += 1) await setImmediate();
    }
    expect(fed.listened).not.toContain("cut off: slow");
    fed.append(1);
    expect(await readTo(reader, 402)).toEqual({ ids: [402] });
  });

  it("is not cut off if it reconnects to more changes than a queue holds, whatever arrives in the meantime", async () => {
    fed.begin({ queue: { bytes: 10_000, batches: 4 }, recentPageBytes: 1_000 });
    await using first = fed.open();
    await first.next();
    fed.append(500);
    await readTo(first, 501);
    await using second = fed.open({ from: madePosition(1) });
    await second.next();
    for (let n = 0; n < 40; n += 1) {
      await second.transactions(5);
      fed.append(1);
      await readTo(first, 502 + n);
    }
    expect(await readTo(second, 541)).toEqual({ ids: range(202, 541) });
    expect(fed.listened).not.toContain("cut off: slow");
  });
});

describe("a slow reader", () => {
  it("is cut off with the position to resume from, and loses nothing when it resumes there", async () => {
    fed.begin({ queue: { bytes: 20_000, batches: 100 } });
    await using fast = fed.open();
    await using slow = fed.open();
    await fast.next();
    await slow.next();
    fed.append(5);
    const before = await slow.transactions(5);
    await readTo(fast, 6);
    for (let n = 0; n < 40; n += 1) {
      fed.append(10, { bytes: 100 });
      await readTo(fast, 16 + 10 * n);
    }
    const { ids, cutoff } = await readTo(slow, 406);
    expect(ids).toEqual([]);
    expect(cutoff).toMatchObject({ reason: "slow", txId: 6, txTime: new Date(6_000).toISOString() });
    expect(await slow.next()).toBeUndefined();
    await using again = fed.open({ from: madePosition(6) });
    expect(before).toHaveLength(5);
    expect(fed.listened).toEqual(["opened", "opened", "cut off: slow", "closed"]);
    expect(await readTo(again, 406)).toEqual({ ids: range(7, 406) });
    expect(fed.errors).toEqual([]);
  });

  it("is not cut off for one transaction that is larger than its queue", async () => {
    fed.begin({ queue: { bytes: 1_000, batches: 100 } });
    await using reader = fed.open();
    await reader.next();
    const told = readTo(reader, 2);
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(1));
    fed.append(1, { bytes: 5_000 });
    expect(await told).toEqual({ ids: [2] });
  });

  it("of the past is never cut off, because the past is read at the reader's speed", async () => {
    fed.begin({ queue: { bytes: 1_000, batches: 2 }, recentTransactions: 5 });
    fed.append(5_000);
    await using reader = fed.open({ from: madePosition(0) });
    await reader.next();
    const seen = await reader.transactions(1);
    fed.append(3_000);
    expect(seen).toHaveLength(1);
    expect(await readTo(reader, 8_001)).toEqual({ ids: range(3, 8_001) });
  });
});
