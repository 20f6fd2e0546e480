import { setImmediate as turn } from "node:timers/promises";
import { memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { IndexStore } from "../../src/index/index-store.ts";
import { scanStates, type StateChange, type StatesBounds } from "../../src/index/read/states.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { unpackStates } from "../../src/own-indexes/packed-rows.ts";
import { type FedBatch, StateFeed } from "../../src/own-indexes/state-feed.ts";
import { cut, empty, messagesOf } from "../index/support/cut-log.ts";
import { intended } from "../index/support/queue-intents.ts";
import { queueMessages } from "../index/support/queue-messages.ts";
import { transaction } from "../index/support/transactions-arbitrary.ts";

/** The seed of the runs that are made with every commit. */
const SEED = commitSeed();
/** How many runs there are of each property; more with CAIRN_TEST_RUNS. */
const RUNS = Number(process.env["CAIRN_TEST_RUNS"] ?? 100);

type Documents = ReadonlyMap<string, string>;

async function openIndex(): Promise<IndexStore> {
  return await IndexStore.open(await memoryProvider().open("/nonexistent/in-memory"), empty);
}

/** A copy of documents that batches keep. */
class Copy {
  readonly documents = new Map<string, string>();

  apply({ changes, rows }: FedBatch): void {
    for (const change of changes) this.#apply(change);
    for (const packed of rows) for (const change of unpackStates(packed)) this.#apply(change);
  }

  #apply(change: StateChange): void {
    if (change.op === "clear") {
      const begin = change.bucket === undefined ? "" : `${change.bucket} ${change.namespace}/`;
      for (const key of this.documents.keys()) if (key.startsWith(begin)) this.documents.delete(key);
      return;
    }
    const key = `${change.bucket} ${change.namespace}/${change.name}`;
    if (change.op === "delete") this.documents.delete(key);
    else this.documents.set(key, `${change.revision} ${change.txTime} ${change.json}`);
  }
}

async function documentsOf(index: IndexStore, bucket?: string): Promise<Documents> {
  const copy = new Copy();
  let after: Uint8Array | undefined;
  do {
    const page = await index.ask((rows, state) => scanStates(rows, state, { bucket }, after));
    copy.apply({ position: "0", txId: 0, complete: false, changes: page.changes, rows: [] });
    after = page.after;
  } while (after !== undefined);
  return copy.documents;
}

/** Returns the documents after each transaction, by its id. */
async function documentsAfterEach(messages: readonly LogMessage[], bucket?: string): Promise<Documents[]> {
  const index = await openIndex();
  const after: Documents[] = [new Map()];
  for (const message of messages) {
    await index.apply([message]);
    after[index.state.txId] = await documentsOf(index, bucket);
  }
  await index.close();
  return after;
}

interface Pace {
  /** The lengths of the runs in which the messages are applied, and the turns of the event loop after each. */
  readonly runs: readonly number[];
  readonly turns: readonly number[];
  /** The turns that the reader takes for each batch. */
  readonly reader: readonly number[];
  readonly ringBytes: number;
  readonly bucket: string | undefined;
  readonly bounds: StatesBounds;
}

const FEW: StatesBounds = { pageKeys: 2, pageBytes: 1_000_000, keys: 5, transactions: 7 };
const pace: fc.Arbitrary<Pace> = fc.record({
  runs: fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 30 }),
  turns: fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 30 }),
  reader: fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 30 }),
  ringBytes: fc.constantFrom(400, 2_000, 1_000_000),
  bucket: fc.constantFrom(undefined, "nodes", "pods", "jobs"),
  bounds: fc.constantFrom(FEW, { ...FEW, pageKeys: 1_000, keys: 2 }, { ...FEW, pageBytes: 20, keys: 10 }),
});

/** What the batches of all runs were, to show that a property meets every kind. */
const met = { kept: 0, read: 0, incomplete: 0, clears: 0 };

/** Follows an index while messages are applied, and compares each complete batch with the documents as of then. */
async function expectExact(messages: readonly LogMessage[], given: Pace): Promise<void> {
  const { runs, turns, reader, bucket, ...bounds } = given;
  const expected = await documentsAfterEach(messages, bucket);
  const index = await openIndex();
  const feed = new StateFeed(index, { ...bounds, ...(bucket === undefined ? {} : { buckets: [bucket] }) });
  const stop = new AbortController();
  const copy = new Copy();
  let reached = 0;
  let following: Promise<void> | undefined;
  const follow = async (): Promise<void> => {
    let count = 0;
    for await (const batch of feed.after("0", stop.signal)) {
      copy.apply(batch);
      met[batch.rows.length > 0 ? "kept" : "read"] += 1;
      if (!batch.complete) met.incomplete += 1;
      met.clears += batch.changes.filter(({ op }) => op === "clear").length;
      if (batch.complete) {
        reached = batch.txId;
        expect(sorted(copy.documents)).toEqual(sorted(expected[batch.txId] ?? new Map()));
      }
      for (let left = reader[count % reader.length] ?? 0; left > 0; left -= 1) await turn();
      count += 1;
    }
  };
  for (const [at, run] of cut(messages, runs).entries()) {
    await index.apply(run);
    for (let left = turns[at % turns.length] ?? 0; left > 0; left -= 1) await turn();
    following ??= follow();
  }
  await Promise.race([following, vi.waitFor(() => expect(reached).toBe(index.state.txId), { interval: 1 })]);
  stop.abort();
  await following;
  await index.close();
}

function sorted(documents: Documents): readonly (readonly [string, string])[] {
  return [...documents].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

it(`each complete batch leads to the documents as of its position (seed ${SEED})`, async () => {
  const property = fc.asyncProperty(
    fc.array(transaction, { minLength: 1, maxLength: 40 }),
    pace,
    async (transactions, given) => await expectExact(messagesOf(transactions), given),
  );
  await fc.assert(property, { numRuns: RUNS, seed: SEED });
});

it("a shard that is retired with the last of its entries is empty from then on", async () => {
  const messages = messagesOf([
    {
      ops: [
        [
          "configure",
          { queues: { jobs: { shards: 2, cap: 9, terminal: { state: ["done"] }, lease: 1_000 } } },
        ],
      ],
    },
    { ops: [["enqueue", "jobs", "a", { state: "new" }]] },
    { ops: [["drain", "jobs", 0, { as: "one" }]] },
    { ops: [["drain", "jobs", 1, { as: "one" }]] },
    {
      ops: [
        ["put", "jobs", "0/a", { state: "done" }, { epoch: 4 }],
        ["retire", "jobs", 0, 4],
      ],
    },
    {
      ops: [
        ["put", "jobs", "1/a", { state: "done" }, { epoch: 5 }],
        ["retire", "jobs", 1, 5],
      ],
    },
    { ops: [["put", "nodes", "n", 1]] },
  ]);
  for (const ringBytes of [1, 1_000_000])
    for (const turns of [0, 20])
      await expectExact(messages, {
        runs: [1, 1, 1, 1, 1, 1],
        turns: [turns],
        reader: [20 - turns],
        ringBytes,
        bucket: undefined,
        bounds: FEW,
      });
});

it(`so it does for queues, whose entries move and are retired with their shards (seed ${SEED})`, async () => {
  const property = fc.asyncProperty(
    fc.array(intended, { minLength: 1, maxLength: 60 }),
    pace,
    async (all, given) => await expectExact(queueMessages(all), given),
  );
  await fc.assert(property, { numRuns: RUNS, seed: SEED });
  for (const count of Object.values(met)) expect(count).toBeGreaterThan(0);
});
