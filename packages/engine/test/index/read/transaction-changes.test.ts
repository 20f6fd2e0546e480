import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Transaction, TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { type ChangesQuery, readChanges } from "../../../src/index/read/transaction-changes.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { markedPlace } from "../../../src/index/read/cursor.ts";
import { formatPosition, qualifiedKey } from "@cairn/text";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import { changesBytes } from "../../../src/index/read/transaction-event.ts";
import { LargestRead } from "../support/largest-read.ts";
import { IndexModel } from "../support/index-model.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

const MIB = 1024 * 1024;
const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-changes-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

/** Opens an index with the birth record. Returns it with a function that applies transactions to it. */
async function openIndex() {
  counter += 1;
  const index = await IndexStore.open(await memoryProvider().open(path.join(folder, String(counter))), empty);
  await index.apply([{ position: 1, time: 1_000, payload: encodeBirthRecord(birth) }]);
  const apply = async (
    transactions: readonly Transaction[],
    time: (txId: number) => number,
  ): Promise<void> => {
    const { txId } = index.state;
    await index.apply(
      transactions.map((one, at) => ({
        position: txId + at + 1,
        time: time(txId + at + 1),
        payload: encodeTransaction(one, birth.log),
      })),
    );
  };
  const changes = async (query: Partial<ChangesQuery> = {}) => {
    const bounds = { maxTransactions: 10_000, maxBytes: 1_000_000 };
    const asked = { after: 0, upTo: index.state.txId, ...bounds, ...query };
    return await index.read((reader) => readChanges(reader, asked));
  };
  return { index, apply, changes };
}

/** Returns changes in the form that the model produces, unordered within a transaction. */
async function told(page: Awaited<ReturnType<typeof readChanges>>): Promise<string[]> {
  return page.transactions.flatMap(({ txId, changes }) =>
    changes
      .map(
        ({ op, bucket, namespace, name, json }) =>
          `${txId} ${op} ${bucket} ${namespace}/${name} ${json ?? ""}`,
      )
      .toSorted(),
  );
}

type Keyed = Extract<TxOperation, readonly ["put" | "delete" | "match" | "evict", ...unknown[]]>;

function isKeyed(op: TxOperation): op is Keyed {
  return ["put", "delete", "match", "evict"].includes(op[0]);
}

function keysOf(transactions: readonly Transaction[]): (readonly [bucket: string, key: string])[] {
  const all = transactions.flatMap(({ ops }) => ops.filter(isKeyed));
  const keys = new Map(
    all.map(([, bucket, key]) => [`${bucket} ${qualifiedKey(key)}`, [bucket, key] as const]),
  );
  return [...keys.values()];
}

/** Returns the model's changes. Every version counts as a change, and so does an eviction, which leaves no version. */
function expected(
  model: IndexModel,
  evictions: readonly string[],
  transactions: readonly Transaction[],
): string[] {
  const versions = keysOf(transactions).flatMap(([bucket, key]) =>
    model.history(bucket, key).map(({ revision, document }) => {
      const what = document === undefined ? "delete" : "put";
      return `${revision} ${what} ${bucket} ${key} ${document === undefined ? "" : JSON.stringify(document)}`;
    }),
  );
  return [...versions, ...evictions].toSorted((a, b) => idOf(a) - idOf(b) || (a < b ? -1 : 1));
}

function idOf(change: string): number {
  return Number.parseInt(change, 10);
}

function puts(name: string, count: number, bytes: number): Transaction[] {
  return Array.from({ length: count }, (_, n) => ({
    ops: [["put", "pods", `${name}${n}`, "x".repeat(bytes)]],
  }));
}

const timeOf = (txId: number): number => 2_000 + (txId % 3) * 500 + txId;

describe("the changes of transactions", () => {
  it(
    "equal the changes of a fold of the log, including expiry and evictions, at every point of the log",
    { tags: "rest/slow" },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(transaction, { minLength: 1, maxLength: 30 }),
          fc.integer({ min: 1, max: 9 }),
          async (transactions, step) => {
            const { index, apply, changes } = await openIndex();
            const model = new IndexModel();
            const evictions: string[] = [];
            for (let from = 0; from < transactions.length; from += step) {
              const run = transactions.slice(from, from + step);
              const after = index.state.txId;
              await apply(run, timeOf);
              for (const one of run) {
                model.apply(one, timeOf(model.txId + 1));
                if (model.outcomes.get(model.txId) !== true) continue;
                for (const [op, bucket, key] of one.ops.filter(isKeyed))
                  if (op === "evict") evictions.push(`${model.txId} evict ${bucket} ${qualifiedKey(key)} `);
              }
              const all = expected(model, evictions, transactions);
              expect(await told(await changes())).toEqual(all);
              expect(await told(await changes({ after }))).toEqual(
                all.filter((change) => idOf(change) > after),
              );
            }
            const all = await told(await changes());
            const ofPods = all.filter((change) => / (?:put|delete|evict) pods a\//.test(change));
            expect(await told(await changes({ bucket: "pods", namespace: "a" }))).toEqual(ofPods);
            await index.close();
          },
        ),
        { numRuns: 80 },
      );
    },
  );

  it("come in pages of bounded size, which together contain all of them", async () => {
    const { index, apply, changes } = await openIndex();
    const large = "x".repeat(1_000);
    await apply(
      Array.from({ length: 500 }, (_, n) => ({ ops: [["put", "pods", `k${n % 50}`, large]] as const })),
      timeOf,
    );
    const seen: number[] = [];
    let after = 0;
    while (after < index.state.txId) {
      const page = await changes({ after, maxTransactions: 200, maxBytes: 50_000 });
      // A page ends with the transaction that reaches the bound.
      expect(page.bytes).toBeLessThan(50_000 + 1_200);
      expect(page.bytes).toBe(page.transactions.reduce((sum, { changes: of }) => sum + changesBytes(of), 0));
      const end = page.end?.txId ?? 0;
      expect(end).toBeGreaterThan(after);
      seen.push(...page.transactions.map(({ txId }) => txId));
      after = end;
    }
    expect(seen).toEqual(Array.from({ length: 500 }, (_, n) => n + 2));
    await index.close();
  });

  it(
    "are read with at most 16 MiB of versions at once, and a page of large documents ends as soon as it is full",
    { tags: "rest/slow" },
    async () => {
      const { index, apply } = await openIndex();
      // Many small documents do not show that the next ones are large.
      for (const run of [puts("large", 20, MIB), puts("small", 100, 10), puts("later", 80, MIB)])
        await apply(run, timeOf);
      const maxBytes = 64 * 1024;
      const ends: number[] = [];
      let after = 0;
      while (after < index.state.txId) {
        const measured = new LargestRead();
        const query = { after, upTo: index.state.txId, maxTransactions: 1_000, maxBytes };
        const page = await index.read((reader) => readChanges(measured.of(reader), query));
        const isFirstLarge = (page.transactions[0]?.changes[0]?.json?.length ?? 0) > MIB;
        expect(measured.bytes).toBeLessThan(isFirstLarge ? 2 * MIB : 16 * MIB);
        expect(page.bytes).toBeLessThan(maxBytes + MIB + 1_000);
        after = page.end?.txId ?? 0;
        ends.push(after);
      }
      // Transaction 1 is the birth record. Small documents share a page with the large one after them.
      expect(ends).toEqual([
        ...Array.from({ length: 20 }, (_, n) => 2 + n),
        ...Array.from({ length: 80 }, (_, n) => 122 + n),
      ]);
      await index.close();
    },
  );

  it("omit evicted content even if the key was written again", async () => {
    const { index, apply, changes } = await openIndex();
    const ops: TxOperation[] = [
      ["put", "pods", "a", "secret"],
      ["evict", "pods", "a"],
      ["put", "pods", "a", "known"],
    ];
    for (const op of ops) await apply([{ ops: [op] }], timeOf);
    expect(await told(await changes())).toEqual(["3 evict pods default/a ", '4 put pods default/a "known"']);
    await index.close();
  });

  it("report an expired document as deleted by the transaction with which it expired", async () => {
    const { index, apply, changes } = await openIndex();
    await apply(
      [{ ops: [["configure", { expire: { pods: { after: 1_000, when: { state: "done" } } } }]] }],
      () => 2_000,
    );
    await apply([{ ops: [["put", "pods", "a", { state: "done" }]] }], () => 3_000);
    // The transaction was aborted, but its time counts.
    await apply(
      [
        {
          ops: [
            ["match", "pods", "a", 77],
            ["put", "nodes", "b", 1],
          ],
        },
      ],
      () => 4_500,
    );
    expect(await told(await changes())).toEqual([
      '3 put pods default/a {"state":"done"}',
      "4 delete pods default/a ",
    ]);
    expect(await told(await changes({ bucket: "nodes" }))).toEqual([]);
    await index.close();
  });

  it("are rejected with the first available transaction once the history policy has removed earlier ones", async () => {
    const { index, apply, changes } = await openIndex();
    await apply([{ ops: [["configure", { history: { pods: { keep: 1 } } }]] }], timeOf);
    for (let n = 0; n < 4; n += 1) {
      await apply(
        Array.from({ length: 400 }, (_, at) => ({
          ops: [
            ["put", "pods", "a", n * 400 + at],
            ["put", "nodes", "a", at],
          ] as const,
        })),
        timeOf,
      );
    }
    const { pruned = 0 } = index.state;
    expect(pruned).toBeGreaterThan(2);
    await expect(changes({ after: pruned - 1 })).rejects.toMatchObject({
      code: "WATCH_COMPACTED",
      floor: formatPosition(await index.read((reader) => markedPlace(reader, pruned))),
    });
    const whole = await changes({ after: pruned });
    expect(whole.transactions.map(({ txId }) => txId)[0]).toBe(pruned + 1);
    expect(whole.transactions).toHaveLength(index.state.txId - pruned);
    // Nothing of the other bucket was removed.
    expect((await changes({ after: 0, bucket: "nodes" })).transactions).toHaveLength(1_600);
    await index.close();
  });
});
