import { describe, expect, it } from "vitest";
import { eventStreamText } from "@cairn/http/src/routes/watch";
import { RecentPast } from "../../src/watch/recent-past.ts";
import { changesBytes, type TransactionEvent } from "../../src/index/read/transaction-event.ts";
import { madePosition } from "@cairn/test-support/nodes/positions";

const KEPT = { recentTransactions: 1_000, recentBytes: 10_000, recentPageBytes: 1_000 };

/** Returns an event of one put, whose namespace has the maximum length. */
function event(txId: number, { bucket = "pods", json = "1" } = {}): TransactionEvent {
  const change = { op: "put" as const, bucket, namespace: "n".repeat(253), name: "a", revision: txId, json };
  return {
    type: "tx",
    txId,
    txTime: new Date(txId).toISOString(),
    position: madePosition(txId),
    changes: [change],
  };
}

function ids(events: readonly TransactionEvent[]): number[] {
  return events.map(({ txId }) => txId);
}

/** Returns everything that is kept, page by page, as a watcher receives it. */
function kept(past: RecentPast, filter = {}): number[] {
  const found: number[] = [];
  for (let after = past.after; ;) {
    const { events, more } = past.page(filter, after);
    found.push(...ids(events));
    if (!more) return found;
    after = found.at(-1) ?? after;
  }
}

describe("the recent past", () => {
  it("keeps as much after a hundred thousand changes as after a thousand", () => {
    const past = new RecentPast(KEPT);
    const each = changesBytes(event(1).changes);
    for (let txId = 1; txId <= 100_000; txId += 1) {
      past.add([event(txId)]);
      if (txId % 10_000 === 0) expect(kept(past)).toHaveLength(Math.floor(KEPT.recentBytes / each));
    }
    expect(kept(past).at(-1)).toBe(100_000);
  });

  it("is also bounded by the number of transactions", () => {
    const past = new RecentPast({ ...KEPT, recentTransactions: 3 });
    past.add([1, 2, 3, 4, 5].map((txId) => event(txId)));
    expect(past.after).toBe(2);
    expect(kept(past)).toEqual([3, 4, 5]);
  });

  it("is divided into pages without gaps, which contain only watched changes", () => {
    const past = new RecentPast(KEPT);
    const buckets = ["pods", "nodes", "pods"];
    for (let txId = 1; txId <= 21; txId += 1) past.add([event(txId, { bucket: buckets[txId % 3] ?? "" })]);
    expect(past.page({}, 0).more).toBe(true);
    expect(kept(past)).toEqual(Array.from({ length: 21 }, (_, index) => index + 1));
    expect(kept(past, { bucket: "nodes" })).toEqual([1, 4, 7, 10, 13, 16, 19]);
    expect(kept(past, { namespace: "other" })).toEqual([]);
  });

  it("returns a transaction larger than a page as a whole", () => {
    const past = new RecentPast({ ...KEPT, recentBytes: 100_000 });
    past.add([event(1), event(2, { json: "1".repeat(5_000) }), event(3)]);
    const page = past.page({}, 0);
    expect([ids(page.events), page.more]).toEqual([[1, 2], true]);
    expect(ids(past.page({}, 2).events)).toEqual([3]);
  });

  it("returns the same page for the same position, even after more was added", () => {
    const past = new RecentPast(KEPT);
    for (let txId = 1; txId <= 20; txId += 1) past.add([event(txId)]);
    const page = past.page({ bucket: "pods" }, 5);
    past.add([event(21)]);
    expect(past.page({ bucket: "pods" }, 5)).toBe(page);
    expect(past.page({}, 5)).not.toBe(page);
  });

  it("holds few pages, however many positions are requested", () => {
    const past = new RecentPast({ recentTransactions: 8_192, recentBytes: 4 << 20, recentPageBytes: 65_536 });
    for (let txId = 1; txId <= 8_192; txId += 1) past.add([event(txId)]);
    const given = Array.from({ length: 500 }, (_, index) => past.page({}, index));
    for (const { events } of given) expect(eventStreamText(events).length).toBeLessThan(80_000);
    const again = Array.from({ length: 500 }, (_, index) => past.page({}, 499 - index));
    expect(again.filter((page, index) => page === given[499 - index])).toHaveLength(64);
  });

  it("is not returned after it was dropped", () => {
    const past = new RecentPast(KEPT);
    for (let txId = 1; txId <= 20; txId += 1) past.add([event(txId)]);
    past.page({}, 5);
    past.forget(4);
    past.add([event(30)]);
    expect(ids(past.page({}, 5).events)).toEqual([30]);
  });
});
