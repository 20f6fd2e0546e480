import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvStore, memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Transaction } from "@cairn/client";
import { EarlierLogs } from "../../../src/backup/earlier-logs.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { indexRows } from "../../../src/index/rows/index-rows.ts";
import { type IndexState, readState, emptyState } from "../../../src/index/rows/index-state.ts";
import { sharedOf } from "../../../src/join/common-history.ts";
import { commonWithLog } from "../../../src/join/common-history.ts";
import { type OrphanTransaction, orphanTransactions } from "../../../src/join/orphan-transactions.ts";
import { contentName } from "../../../src/join/same-transactions.ts";
import { contentHash } from "../../../src/transactions/message-frame.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { transaction } from "../../index/support/transactions-arbitrary.ts";

const birth = { log: "log-1", offset: 0 };

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-orphans-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

function messagesOf(transactions: readonly Transaction[], from = 2, time = 1_000): LogMessage[] {
  return transactions.map((one, index) => ({
    position: from + index,
    time: time + from + index,
    payload: encodeTransaction(one, birth.log),
  }));
}

const first: LogMessage = { position: 1, time: 1, payload: encodeBirthRecord(birth) };

async function indexOf(messages: readonly LogMessage[]): Promise<{ kv: KvStore; state: IndexState }> {
  const kv = indexRows(await memoryProvider().open(path.join(folder, String((counter += 1)))));
  const identity = { id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth };
  await (await IndexStore.open(kv, emptyState(identity))).apply(messages);
  const state = await readState(kv);
  if (state === undefined) throw new Error("nothing was applied");
  return { kv, state };
}

/** Returns the orphans of an index of `before` and `lost` whose log contains `before` and `instead`. */
async function orphansOf(
  before: readonly LogMessage[],
  lost: readonly LogMessage[],
  instead: readonly LogMessage[],
  { first: firstLeft = 1 } = {},
): Promise<OrphanTransaction[]> {
  const { kv, state } = await indexOf([first, ...before, ...lost]);
  const log = [first, ...before, ...instead];
  const bounds = { first: firstLeft, last: log.length };
  const fetch = (position: number) => Promise.resolve(position < firstLeft ? undefined : log[position - 1]);
  const identity = { id: "log-1", name: "cairn", bounds, birth };
  const history = { fetch, earlier: new EarlierLogs([]) };
  const shared = await sharedOf({ kv, state }, await commonWithLog(kv, state, history, identity));
  const found: OrphanTransaction[] = [];
  for await (const one of orphanTransactions(kv, state, shared.txId)) found.push(one);
  await kv.close();
  return found;
}

/** The name of the content of the message that loading a line stores. */
function contentOf(line: string): string {
  const message = encodeTransaction(JSON.parse(line) as Transaction, birth.log);
  return contentName({ contentHash: contentHash(message) });
}

const put = (name: string, document: number): Transaction => ({
  ops: [["put", "pods", `default/${name}`, document]],
});

describe("orphans", () => {
  it(
    "are exactly the committed transactions after the point at which the index and the log diverge",
    { tags: "rest/slow" },
    async () => {
      const some = fc.array(transaction, { maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(some, some, some, async (before, lost, instead) => {
          const from = before.length + 2;
          const kept = messagesOf(before);
          const gone = messagesOf(lost, from);
          const { kv, state } = await indexOf([first, ...kept, ...gone]);
          const index = await IndexStore.open(kv, state);
          const committed: number[] = [];
          for (let txId = from; txId <= state.txId; txId += 1) {
            const outcome = await index.outcome(txId);
            if (outcome?.committed === true && outcome.duplicateOf === undefined) committed.push(txId);
          }
          await kv.close();
          const found = await orphansOf(kept, gone, messagesOf(instead, from, 5_000));
          expect(found.map(({ txId }) => txId)).toEqual(committed);
          // Each is recognized once it was loaded.
          for (const { line, names } of found)
            if (line !== undefined) expect(names).toContain(contentOf(line));
        }),
        { numRuns: 100 },
      );
    },
  );

  it("are printed as they were submitted, with an id so that they are applied only once", async () => {
    const lost = [
      {
        ops: [
          ["put", "pods", "default/a", { n: 1.5 }],
          ["delete", "pods", "default/b"],
        ],
        id: "mine",
      },
      put("a", 2),
      put("a", 3),
    ] as const;
    const found = await orphansOf(messagesOf([put("b", 0)]), messagesOf(lost, 3), []);
    const lines = found.map(({ line = "" }) => JSON.parse(line) as Transaction);
    expect(lines[0]).toEqual(lost[0]);
    expect(lines.slice(1).map(({ ops }) => ops)).toEqual([put("a", 2).ops, put("a", 3).ops]);
    expect(new Set(lines.map(({ id }) => id)).size).toBe(3);
    const again = await orphansOf(
      messagesOf([put("b", 0)]),
      messagesOf(lost, 3),
      messagesOf([put("c", 1)], 3, 9_000),
    );
    expect(again.map(({ line }) => line)).toEqual(found.map(({ line }) => line));
  });

  it("include their events, and the policies that were set last", async () => {
    const lost: Transaction[] = [
      {
        ops: [
          ["event", { object: "a", reason: "One", time: "5" }],
          ["event", { object: "b", reason: "Two" }],
        ],
      },
      {
        ops: [
          ["configure", { events: { keep: 9 } }],
          ["put", "pods", "default/a", 1],
        ],
      },
      { ops: [["configure", { events: { keep: 8 } }, 4]] },
    ];
    const found = await orphansOf(messagesOf([put("b", 0)]), messagesOf(lost, 3), []);
    expect(found.map(({ line = "{}" }) => (JSON.parse(line) as Partial<Transaction>).ops)).toEqual([
      [
        ["event", { object: "a", reason: "One", time: "5" }],
        // The event has the transaction's time, because it would otherwise receive another time when it is loaded
        // again.
        ["event", { object: "b", reason: "Two", time: "1003000000" }],
      ],
      [["put", "pods", "default/a", 1]],
      [["configure", { events: { keep: 8 } }]],
    ]);
  });

  it("omit and report evicted documents and references to lost revisions", async () => {
    const lost: Transaction[] = [
      put("a", 1),
      put("secret", 1),
      {
        ops: [
          ["match", "pods", "default/a", 3],
          ["match", "pods", "default/b", 2],
          ["put", "pods", "default/a", 2],
        ],
      },
      { ops: [["evict", "pods", "default/secret"]] },
    ];
    const found = await orphansOf(messagesOf([put("b", 0)]), messagesOf(lost, 3), []);
    expect(found[1]).toMatchObject({ txId: 4, line: undefined, evicted: ["pods default/secret"] });
    expect(found[2]).toMatchObject({ unmatched: 1 });
    expect(JSON.parse(found[2]?.line ?? "")).toMatchObject({
      ops: [
        ["match", "pods", "default/b", 2],
        ["put", "pods", "default/a", 2],
      ],
    });
  });

  it("are found even if the log has the same operations in their place, with other documents", async () => {
    const found = await orphansOf(
      messagesOf([put("a", 1)]),
      messagesOf([put("a", 2), put("b", 2)], 3),
      messagesOf([put("a", 20), put("b", 20)], 3, 9_000),
    );
    expect(found.map(({ txId }) => txId)).toEqual([3, 4]);
  });

  it("do not exist if the log was only trimmed", async () => {
    const before = messagesOf([put("a", 1), put("b", 2), put("c", 3)]);
    expect(await orphansOf(before, [], messagesOf([put("d", 4), put("e", 5)], 5), { first: 6 })).toEqual([]);
  });
});
