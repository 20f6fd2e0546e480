import { type KvReader, type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, describe, expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { sweepOutcomes } from "../../../src/index/apply/outcome-sweep.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { checkTransactions } from "../../../src/index/inspect/check-rows.ts";
import { changesFloor, readChanges } from "../../../src/index/read/transaction-changes.ts";
import { markedPlace } from "../../../src/index/read/cursor.ts";
import { formatPosition } from "@cairn/text";
import { emptyState, type IndexState } from "../../../src/index/rows/index-state.ts";
import { ROW, rowsOfKind, rowTxId } from "../../../src/index/rows/row-keys.ts";
import { policyProblems } from "../../../src/policies/policy-problems.ts";
import { sharedOf } from "../../../src/join/common-history.ts";
import { commonWithLog } from "../../../src/join/common-history.ts";
import { orphanTransactions } from "../../../src/join/orphan-transactions.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

const TRANSACTIONS = 5_000;
/** In place of 1,000,000. */
const REMEMBERED = 500;
const KEPT = 2 * REMEMBERED;
const EVICTED = 700;
const OUTCOMES: TxOperation = ["configure", { outcomes: { for: "PT40M" } }];
const EXPIRING: TxOperation = [
  "configure",
  { outcomes: { for: "PT40M" }, expire: { leases: { after: "PT5M" } }, indexes: { pods: ["n"] } },
];

/** Returns the time of a message: there is one each second. */
function timeOf(position: number): number {
  return position * 1_000;
}

function iso(position: number): string {
  return new Date(timeOf(position)).toISOString();
}

function opsOf(position: number, policies: TxOperation): readonly TxOperation[] {
  if (position === 2) return [policies];
  if (position === EVICTED || position === TRANSACTIONS - 100) return [["evict", "pods", "default/evicted"]];
  if (position === 10 || position === TRANSACTIONS - 200)
    return [["put", "pods", "default/evicted", position]];
  if (position % 50 === 0) return [["put", "leases", `default/l${position}`, position]];
  if (position % 9 === 0) return [["match", "pods", "default/k1", 1]];
  return [["put", "pods", `default/k${position % 40}`, { n: position % 7 }]];
}

function messages(policies = EXPIRING, count = TRANSACTIONS): LogMessage[] {
  const found = [{ position: 1, time: timeOf(1), payload: encodeBirthRecord(birth) }];
  for (let position = 2; position <= count; position += 1) {
    const payload = encodeTransaction({ ops: opsOf(position, policies) }, birth.log);
    found.push({ position, time: timeOf(position), payload });
  }
  return found;
}

const opened: KvStore[] = [];
afterEach(async () => {
  for (const kv of opened.splice(0)) await kv.close();
});

async function indexOf(log: readonly LogMessage[], run = 10_000, remembered = REMEMBERED) {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  opened.push(kv);
  const index = await IndexStore.open(kv, empty, remembered);
  for (let from = 0; from < log.length; from += run) await index.apply(log.slice(from, from + run));
  return { index, kv, removedUpTo: index.state.outcomesAfter ?? 0 };
}

async function rowsOf(kv: KvReader): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of separateRows(kv)) {
    for (const [key, value] of rows)
      found.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
  }
  return found;
}

async function firstOf(kv: KvReader, kind: typeof ROW.transaction | typeof ROW.expired): Promise<number> {
  for await (const rows of kv.range({ ...rowsOfKind(kind), limit: 1 }))
    for (const [key] of rows) return rowTxId(key);
  return 0;
}

const REMOVED = expect.objectContaining({ code: "OUTCOME_REMOVED" }) as unknown;

describe("a bound on outcomes", () => {
  it("removes the same outcomes however the log is divided", { tags: "rest/slow" }, async () => {
    const log = messages();
    const { kv, removedUpTo } = await indexOf(log);
    // The age is 2,400 transactions, and there is a sweep at each transaction that is divisible by 256.
    expect(removedUpTo).toBeLessThanOrEqual(TRANSACTIONS - 2_400);
    expect(removedUpTo).toBeGreaterThan(TRANSACTIONS - 2_400 - 256 - 32);
    for (const run of [1, 7, 300, 1_000])
      expect(await rowsOf((await indexOf(log, run)).kv)).toEqual(await rowsOf(kv));
    // A row of 32 outcomes has the key of the last.
    expect(await firstOf(kv, ROW.transaction)).toBeGreaterThan(removedUpTo);
    expect(await firstOf(kv, ROW.transaction)).toBeLessThanOrEqual(removedUpTo + 32);
    expect(await firstOf(kv, ROW.expired)).toBeGreaterThan(removedUpTo);
  });

  it(
    "answers exactly as an index without a bound, or says that the outcome was removed",
    { tags: "rest/slow" },
    async () => {
      const log = messages();
      const { index, removedUpTo } = await indexOf(log);
      const { index: whole } = await indexOf(log, 10_000, TRANSACTIONS);
      expect(whole.state.outcomesAfter).toBeUndefined();
      for (let txId = 1; txId <= TRANSACTIONS + 3; txId += 1) {
        if (txId <= removedUpTo) await expect(index.outcome(txId)).rejects.toThrow(REMOVED);
        else expect(await index.outcome(txId)).toEqual(await whole.outcome(txId));
      }
      await expect(index.outcome(removedUpTo)).rejects.toThrow(`from transaction ${removedUpTo + 1} onwards`);
      expect(await index.digest()).toEqual(await whole.digest());
      expect(await index.chains()).toEqual(await whole.chains());
    },
  );

  it("always keeps the outcomes of the transactions whose ids are remembered", async () => {
    const log = messages(["configure", { outcomes: { for: 1 } }]);
    const { index, removedUpTo } = await indexOf(log);
    expect(removedUpTo).toBeLessThanOrEqual(TRANSACTIONS - KEPT);
    expect(removedUpTo).toBeGreaterThan(TRANSACTIONS - KEPT - 256 - 32);
    expect(await index.outcome(TRANSACTIONS - KEPT)).toMatchObject({ committed: true });
    const { removedUpTo: all } = await indexOf(messages(OUTCOMES), 10_000, TRANSACTIONS);
    expect(all).toBe(0);
  });

  it("counts outcomes, and takes at most 2,048 at a time", async () => {
    const { kv } = await indexOf(messages(), 10_000, TRANSACTIONS);
    const now = { txId: TRANSACTIONS, time: timeOf(TRANSACTIONS) };
    const sweep = async (keep: number, after: number, age = Number.POSITIVE_INFINITY) =>
      await sweepOutcomes(kv, { keep, age }, after, now, REMEMBERED);
    expect((await sweep(4_970, 0)).upTo).toBe(0);
    expect((await sweep(4_900, 0)).upTo).toBe(96);
    expect((await sweep(1_000, 0)).upTo).toBe(2_048);
    expect((await sweep(1_000, 2_048)).upTo).toBe(4_000);
    // The longer of the two reaches decides which are beyond a bound.
    expect((await sweep(4_000, 0, 4_500_000)).upTo).toBe(992);
    expect((await sweep(4_500, 0, 4_000_000)).upTo).toBe(992);
    expect(await sweep(4_900, 96)).toEqual({ rowKeys: [], upTo: 96 });
  });

  it("is refused below 2,000,000", () => {
    expect(policyProblems({ outcomes: { keep: 1_999_999 } })).toEqual([
      { path: ["outcomes", "keep"], message: "Expected a whole number from 2000000 to 1000000000." },
    ]);
    expect(policyProblems({ outcomes: { keep: 2_000_000, for: "P30D" } })).toEqual([]);
  });
});

describe("groups of expired documents", () => {
  it("end a sweep once it has found many of them, at the end of a group", { tags: "rest/slow" }, async () => {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    opened.push(kv);
    const documents = 40 * 512;
    const index = await IndexStore.open(kv, empty, REMEMBERED);
    const log = [{ position: 1, time: 0, payload: encodeBirthRecord(birth) }];
    const add = (time: number, ops: readonly TxOperation[]): void => {
      log.push({ position: log.length + 1, time, payload: encodeTransaction({ ops }, birth.log) });
    };
    add(0, [["configure", { outcomes: { for: 1 }, expire: { leases: { after: 1_000 } } }]]);
    for (let n = 0; n < documents; n += 512)
      add(
        1,
        Array.from({ length: 512 }, (_, at) => ["put", "leases", `default/l${n + at}`, at]),
      );
    // A hundred documents expire with each of these, from transaction 43 on.
    while (log.length < 1_280) add(2_000 + log.length, [["put", "pods", "default/k", log.length]]);
    await index.apply(log.slice(0, 1_023));
    expect(index.state.outcomesAfter).toBeUndefined();
    await index.apply(log.slice(1_023));
    // With 1,280, transactions up to 280 would be allowed. The group that ends with 224 exceeds 16,384 documents.
    expect(index.state.outcomesAfter).toBe(224);
    expect(await firstOf(kv, ROW.expired)).toBe(225);
  });
});

describe("readers of an index whose old outcomes were removed", () => {
  it("refuse a watch from before the bound, with the floor, and read the same changes after it", async () => {
    const log = messages();
    const { index, kv, removedUpTo } = await indexOf(log);
    const { kv: whole } = await indexOf(log, 10_000, TRANSACTIONS);
    const query = { upTo: TRANSACTIONS, maxTransactions: 10_000, maxBytes: 1e9 };
    for (const bucket of [undefined, "pods"]) {
      const refused = readChanges(kv, { ...query, bucket, after: removedUpTo });
      // The mark of the transaction after which a watch begins is known.
      const floor = await markedPlace(whole, removedUpTo + 1);
      await expect(refused).rejects.toMatchObject({ code: "WATCH_COMPACTED", floor: formatPosition(floor) });
      expect(await changesFloor(kv, { upTo: TRANSACTIONS, bucket })).toEqual(floor);
      const after = { ...query, bucket, after: floor.txId };
      expect(await readChanges(kv, after)).toEqual(await readChanges(whole, after));
    }
    expect(index.state.pruned).toBeUndefined();
  });

  it("resolve times from the first kept one on, and refuse earlier ones", async () => {
    const { index, removedUpTo } = await indexOf(messages());
    const { index: whole } = await indexOf(messages(), 10_000, TRANSACTIONS);
    const key = { bucket: "pods", namespace: "default", name: "k3" };
    for (const position of [removedUpTo + 1, removedUpTo + 2, 3_000, TRANSACTIONS - 5, TRANSACTIONS + 5]) {
      const asOf = { time: iso(position) };
      expect(await index.get(key, asOf)).toEqual(await whole.get(key, asOf));
    }
    const refused = index.get(key, { time: iso(removedUpTo) });
    await expect(refused).rejects.toThrow(REMOVED);
    await expect(refused).rejects.toMatchObject({
      hint: expect.stringContaining(iso(removedUpTo + 1)) as string,
    });
    await expect(index.list({ bucket: "pods", limit: 5, asOf: { time: iso(5) } })).rejects.toThrow(REMOVED);
    // By its transaction, the past is as complete as without the bound.
    expect(await index.get(key, { txId: 100 })).toEqual(await whole.get(key, { txId: 100 }));
  });

  it("list by a field as of a transaction whose outcome was removed", async () => {
    const { index, removedUpTo } = await indexOf(messages());
    const { index: whole } = await indexOf(messages(), 10_000, TRANSACTIONS);
    for (const built of [index, whole]) while (await built.buildFields()) continue;
    for (const txId of [100, removedUpTo - 1, removedUpTo, removedUpTo + 1]) {
      const query = { bucket: "pods", limit: 100, asOf: { txId }, where: [{ field: "n", value: "3" }] };
      const { documents } = await index.list(query);
      expect(documents).toEqual((await whole.list(query)).documents);
      expect(documents.length).toBeGreaterThan(0);
    }
  });

  it("know the time of every eviction", async () => {
    const { index } = await indexOf(messages());
    const { evictions } = await index.evictions(10);
    expect(evictions.map(({ txId, txTime }) => [txId, Date.parse(txTime)])).toEqual([
      [TRANSACTIONS - 100, timeOf(TRANSACTIONS - 100)],
      [EVICTED, timeOf(EVICTED)],
    ]);
  });

  it("report the first transaction of a repetition whose outcome was removed", async () => {
    const log: LogMessage[] = [{ position: 1, time: 0, payload: encodeBirthRecord(birth) }];
    const add = (id: string | undefined, ops: readonly TxOperation[]): void => {
      const payload = encodeTransaction({ ops, ...(id === undefined ? {} : { id }) }, birth.log);
      log.push({ position: log.length + 1, time: log.length, payload });
    };
    add(undefined, [["configure", { outcomes: { for: 1 } }]]);
    add("again", [["put", "pods", "default/a", 1]]);
    while (log.length < 500) add(undefined, [["put", "pods", "default/b", log.length]]);
    add("again", [["put", "pods", "default/a", 1]]);
    const { index } = await indexOf(log);
    const again = log.length;
    while (log.length < 1_279) add(undefined, [["put", "pods", "default/b", log.length]]);
    await index.apply(log.slice(again));
    // Every remembered transaction can be answered.
    expect(await index.outcome(again)).toMatchObject({ committed: true, duplicateOf: 3 });
    add(undefined, [["put", "pods", "default/b", 0]]);
    await index.apply(log.slice(-1));
    expect(index.state.outcomesAfter).toBe(256);
    await expect(index.outcome(again)).rejects.toThrow(
      `Transaction ${again} repeats transaction 3. The outcome of transaction 3 was removed`,
    );
    expect(await index.outcome(0)).toBeUndefined();
  });

  it("find the outcome of a later transaction missing", async () => {
    const { index, kv, removedUpTo } = await indexOf(messages());
    await checkTransactions(kv, index.state);
    const later: IndexState = { ...index.state, outcomesAfter: removedUpTo - 32 };
    await expect(checkTransactions(kv, later)).rejects.toThrow(
      `the outcome of transaction ${removedUpTo - 31} is missing`,
    );
  });

  it("compare themselves with a log only as far back as outcomes are kept", async () => {
    const { index, kv, removedUpTo } = await indexOf(messages());
    const log = messages();
    const shared = async (lost: number) => {
      const held = log.map((message, at) =>
        at < TRANSACTIONS - lost
          ? message
          : { ...message, payload: encodeTransaction({ ops: [["put", "x", "a", at]] }, "log-1") },
      );
      const fetch = async (position: number) => held[position - 1];
      const identity = { id: "log-1", name: "cairn", bounds: { first: 1, last: TRANSACTIONS }, birth };
      const history = { fetch, earlier: async () => undefined } as never;
      return await sharedOf(
        { kv, state: index.state },
        await commonWithLog(kv, index.state, history, identity),
      );
    };
    expect(await shared(1_000)).toEqual({ txId: TRANSACTIONS - 1_000, isProven: true });
    // The time of the first kept transaction depends on the one before, and the next one (2,466) was aborted.
    expect(removedUpTo).toBe(2_464);
    expect(await shared(4_900)).toEqual({ txId: 2_466, isProven: false });
    const orphans = [];
    for await (const { txId } of orphanTransactions(kv, index.state, TRANSACTIONS - 3)) orphans.push(txId);
    expect(orphans).toEqual([TRANSACTIONS - 2, TRANSACTIONS - 1, TRANSACTIONS]);
  });
});
