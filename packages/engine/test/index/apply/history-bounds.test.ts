import { type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, describe, expect, it } from "vitest";
import type { BoundPolicy, Policies, TxOperation } from "@cairn/client";
import { RECENT_TRANSACTIONS } from "../../../src/index/apply/history-sweep.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

/**
 * The length of a log in which each key is written and deleted repeatedly. Every tenth transaction writes to another
 * bucket.
 */
const TRANSACTIONS = 3_000;
const KEYS = 23;
/**
 * The number of transactions within which sweeps examine every version of these logs: a log has a few thousand
 * versions, and a sweep examines 512 of them.
 */
const CYCLE = 900;

function operation(position: number): TxOperation {
  const key = `default/k${(position * 7) % KEYS}`;
  if (position % 10 === 0) return ["put", "other", key, position];
  // Late in the log, some keys are deleted and never written again.
  if ((position * 7) % KEYS < 5 && position > 1_200) return ["delete", "pods", key];
  return position % 6 === 0 ? ["delete", "pods", key] : ["put", "pods", key, { n: position }];
}

function messages(bound: BoundPolicy | undefined, count = TRANSACTIONS): LogMessage[] {
  return messagesUnder(bound && { history: { pods: bound } }, count);
}

function messagesUnder(policies: Policies | undefined, count = TRANSACTIONS): LogMessage[] {
  const found = [{ position: 1, time: 1_000, payload: encodeBirthRecord(birth) }];
  for (let position = 2; position <= count; position += 1) {
    const configure: TxOperation[] = policies === undefined ? [] : [["configure", policies]];
    const ops: TxOperation[] = position === 2 ? [...configure, operation(2)] : [operation(position)];
    found.push({ position, time: position * 1_000, payload: encodeTransaction({ ops }, birth.log) });
  }
  return found;
}

const opened: KvStore[] = [];
afterEach(async () => {
  for (const kv of opened.splice(0)) await kv.close();
});

/** Makes a store yield its rows in pages of 1 to 7, as one with larger or fewer bytes in its rows might. */
function inSmallPages(kv: KvStore): void {
  const range = kv.range.bind(kv);
  kv.range = async function* (wanted) {
    let size = 0;
    for await (const rows of range(wanted)) {
      for (let from = 0; from < rows.length; from += size) {
        size = (size % 7) + 1;
        yield rows.slice(from, from + size);
      }
    }
  };
}

async function indexOf(
  log: readonly LogMessage[],
  run: number,
  prepare: (kv: KvStore) => void = () => {},
): Promise<{ index: IndexStore; kv: KvStore }> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  prepare(kv);
  opened.push(kv);
  const index = await IndexStore.open(kv, empty);
  for (let from = 0; from < log.length; from += run) await index.apply(log.slice(from, from + run));
  return { index, kv };
}

async function rowsOf(kv: KvStore, kinds = "bcdefhijmnoqtvxz"): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of separateRows(kv)) {
    for (const [key, value] of rows) {
      if (!kinds.includes(String.fromCharCode(key[0] ?? 0))) continue;
      found.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
    }
  }
  return found;
}

/** Returns a revision, undefined for an absent key, or "gone" if the index reports that the history was removed. */
async function at(index: IndexStore, name: string, txId: number): Promise<number | undefined | "gone"> {
  try {
    return (await index.get({ bucket: "pods", namespace: "default", name }, { txId }))?.revision;
  } catch (error) {
    expect(error).toMatchObject({ code: "WATCH_COMPACTED" });
    return "gone";
  }
}

describe.each<[string, BoundPolicy]>([
  ["a count", { keep: 3 }],
  ["an age", { for: "PT20M" }],
  ["both", { keep: 5, for: "PT30M" }],
  ["nothing at all", { keep: 0 }],
])("history bounded by %s", (_what, bound) => {
  it("is the same whatever the pages in which a store yields its rows", async () => {
    const log = messages(bound);
    const { kv } = await indexOf(log, 10_000);
    const { kv: other } = await indexOf(log, 10_000, inSmallPages);
    expect(await rowsOf(other)).toEqual(await rowsOf(kv));
  });

  it("is the same however the log is divided, and reads either return the correct past state or report its removal", async () => {
    const log = messages(bound);
    const { index, kv } = await indexOf(log, 10_000);
    const { kv: other } = await indexOf(log, 17);
    expect(await rowsOf(other)).toEqual(await rowsOf(kv));
    const { index: whole, kv: wholeKv } = await indexOf(messages(undefined), 10_000);
    const versions = await rowsOf(kv, "h");
    expect(versions.length).toBeLessThan((await rowsOf(wholeKv, "h")).length * 0.75);
    expect(await rowsOf(kv, "c")).toEqual(await rowsOf(wholeKv, "c"));
    let gone = 0;
    for (let txId = 3; txId <= TRANSACTIONS; txId += 61) {
      for (let key = 0; key < KEYS; key += 1) {
        const told = await at(index, `k${key}`, txId);
        if (told === "gone") gone += 1;
        else expect([txId, key, told]).toEqual([txId, key, await at(whole, `k${key}`, txId)]);
        // Recently superseded versions are always kept.
        if (txId > TRANSACTIONS - RECENT_TRANSACTIONS) expect(told).not.toBe("gone");
      }
    }
    expect(gone).toBeGreaterThan(100);
    for (let key = 0; key < KEYS; key += 1) {
      const document = { bucket: "pods", namespace: "default", name: `k${key}` };
      const all = (await whole.history(document, 1_000)).versions;
      const left = (await index.history(document, 1_000)).versions;
      expect(left).toEqual(all.slice(0, left.length));
      const { keep } = bound;
      if (keep !== undefined && bound.for === undefined) {
        expect(left.length).toBeGreaterThanOrEqual(Math.min(keep + 1, all.length));
        // Only versions superseded recently, or since the last sweeps, are beyond the bound.
        const old = left.filter(({ revision }) => revision < TRANSACTIONS - RECENT_TRANSACTIONS - CYCLE);
        expect(old.length).toBeLessThanOrEqual(keep + 1);
      }
    }
    // The history of the other bucket has no bound.
    const past = { txId: 500 };
    const listed = await Promise.all(
      [index, whole].map((one) => one.list({ bucket: "other", limit: 1_000, asOf: past })),
    );
    expect(listed[0]?.documents).toEqual(listed[1]?.documents);
  });
});

describe("a bound on the history of all other buckets", () => {
  it("applies to each bucket that has no bound of its own, as if the policy named it", async () => {
    const own = { keep: 5 };
    const all = { keep: 2, for: "PT30M" };
    const log = messagesUnder({ history: { other: own, "*": all } });
    const { kv } = await indexOf(log, 17);
    const { kv: whole } = await indexOf(log, 10_000);
    const { kv: named } = await indexOf(messagesUnder({ history: { other: own, pods: all } }), 10_000);
    expect(await rowsOf(kv)).toEqual(await rowsOf(whole));
    // The policies and the state, which name the bucket, and what is derived from them are not compared.
    expect(await rowsOf(kv, "cdhn")).toEqual(await rowsOf(named, "cdhn"));
    const { kv: unbounded } = await indexOf(messagesUnder({ history: { other: own } }), 10_000);
    expect((await rowsOf(kv, "h")).length).toBeLessThan((await rowsOf(unbounded, "h")).length * 0.75);
  });
});

describe("history removed by a policy", () => {
  it("is refused with the floor, in past lists and digests", async () => {
    const { index } = await indexOf(messages({ keep: 1, for: "PT10M" }), 1_000);
    const list = index.list({ bucket: "pods", limit: 10, asOf: { txId: 100 } });
    await expect(list).rejects.toMatchObject({
      code: "WATCH_COMPACTED",
      message: expect.stringMatching(/complete from transaction \d+/),
    });
    await expect(index.digest(2_500)).rejects.toMatchObject({ code: "CONFLICT" });
  });

  it("is reported as removed up to exactly the transaction that superseded its last version", async () => {
    const log: LogMessage[] = [{ position: 1, time: 1_000, payload: encodeBirthRecord(birth) }];
    const add = (...ops: TxOperation[]): void => {
      const position = log.length + 1;
      log.push({ position, time: position * 1_000, payload: encodeTransaction({ ops }, birth.log) });
    };
    add(["configure", { history: { pods: { keep: 1 } } }]);
    for (let n = 0; n < 4; n += 1) {
      add(["put", "pods", "default/only", n]);
      add(["put", "other", "default/x", n]);
    }
    while (log.length < RECENT_TRANSACTIONS + 200) add(["put", "other", "default/x", 0]);
    const { index } = await indexOf(log, 100);
    // The key was written at 3, 5, 7 and 9; only 7 remains in addition to the newest version.
    const told = await Promise.all([2, 3, 4, 5, 6, 7, 8, 9].map((txId) => at(index, "only", txId)));
    expect(told).toEqual(["gone", "gone", "gone", "gone", "gone", 7, 7, 9]);
    expect(await at(index, "never", 6)).toBeUndefined();
  });

  it("is the oldest part of a history that exceeds the work of one sweep", async () => {
    const written = 2_000;
    const log: LogMessage[] = [{ position: 1, time: 1_000, payload: encodeBirthRecord(birth) }];
    const add = (...ops: TxOperation[]): void => {
      const position = log.length + 1;
      log.push({ position, time: position * 1_000, payload: encodeTransaction({ ops }, birth.log) });
    };
    for (let n = 0; n < written; n += 1) add(["put", "pods", "default/long", n]);
    for (let n = 0; n < 300; n += 1) add(["put", "pods", `default/k${n % 100}`, n]);
    add(["configure", { history: { pods: { keep: 3 } } }]);
    while (log.length < 2 * written + 1_000) add(["put", "other", "default/x", 0]);
    const { index } = await indexOf([], 1);
    const { index: other } = await indexOf(log, 10_000);
    const document = { bucket: "pods", namespace: "default", name: "long" };
    const lengths = new Set<number>();
    for (let from = 0; from < log.length; from += 128) {
      await index.apply(log.slice(from, from + 128));
      const { versions } = await index.history(document, written);
      const newest = Math.min(index.state.txId, written + 1);
      // A gap would appear as a missing revision between two others.
      expect(versions.map(({ revision }) => revision)).toEqual(versions.map((_, place) => newest - place));
      lengths.add(versions.length);
    }
    expect((await index.history(document, written)).versions).toHaveLength(4);
    // The history was removed in several sweeps.
    expect([...lengths].filter((length) => length > 4 && length < written - 500).length).toBeGreaterThan(1);
    expect(await index.digest()).toEqual(await other.digest());
  });

  it("leaves no trace of keys that were deleted longer ago than the bound", async () => {
    const { index, kv } = await indexOf(messages({ for: "PT1M" }, TRANSACTIONS + 2 * CYCLE), 1_000);
    const { kv: wholeKv } = await indexOf(messages(undefined, TRANSACTIONS + 2 * CYCLE), 1_000);
    expect((await rowsOf(wholeKv, "d")).length).toBeGreaterThan((await rowsOf(kv, "d")).length);
    const { versions } = await index.history({ bucket: "pods", namespace: "default", name: "k1" }, 10);
    expect(versions).toEqual([]);
    expect(await at(index, "k1", 1_000)).toBe("gone");
    expect(await at(index, "k1", TRANSACTIONS)).toBeUndefined();
  });
});
