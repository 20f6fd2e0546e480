import { CairnError, type KvOperation, type KvStore, memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IndexStore } from "../../src/index-store/index-store.ts";
import type { LogMessage } from "../../src/tx-log/tx-log.ts";
import type { Transaction } from "../../src/tx-log/transaction.ts";
import { cut, empty, messagesOf } from "./cut-log.ts";
import { IndexModel } from "./index-model.ts";
import { expectLikeModel } from "./like-model.ts";
import { transaction } from "./transactions-arbitrary.ts";

/** `lost`: the store goes on without the batch. `unknown`: as a full disk ends a store, with the batch or without; then it is opened again. */
type Fault = "lost" | "unknown, written" | "unknown, not written";

/** How each call to come fails; false where it does not. */
interface Faults {
  readonly reads: readonly boolean[];
  readonly batches: readonly (Fault | false)[];
}

const NONE: Faults = { reads: [], batches: [] };

/** A store in memory in which whatever is asked for next may fail. */
class FaultyKv {
  readonly store: KvStore;
  faults: Faults = NONE;
  /** A batch failed of which nobody knows whether it is there. */
  isSuspect = false;

  constructor(rows: KvStore) {
    this.store = {
      get: (key) => (this.#fails() ? refused() : rows.get(key)),
      getMany: (keys) => (this.#fails() ? refused() : rows.getMany(keys)),
      range: (range) => (this.#fails() ? refusedRange() : rows.range(range)),
      batch: (operations) => this.#batch(rows, operations),
      snapshot: () => rows.snapshot(),
      capture: (dir) => rows.capture(dir),
      compact: () => rows.compact(),
      stats: () => rows.stats(),
      close: () => rows.close(),
    };
  }

  #fails(): boolean {
    const [fails = false, ...reads] = this.faults.reads;
    this.faults = { ...this.faults, reads };
    return fails;
  }

  async #batch(rows: KvStore, operations: readonly KvOperation[]): Promise<void> {
    const [next = false, ...batches] = this.faults.batches;
    const fault = this.isSuspect ? "unknown, not written" : next;
    this.faults = { ...this.faults, batches };
    if (fault === false) return await rows.batch(operations);
    if (fault === "unknown, written") await rows.batch(operations);
    this.isSuspect = fault !== "lost";
    return await refused();
  }
}

function refused(): Promise<never> {
  return Promise.reject(new CairnError("DISK_FULL", "No space left."));
}

async function* refusedRange(): AsyncGenerator<never> {
  yield await refused();
}

it("an index is what the log says, whichever of its store's reads and writes fail on the way", async () => {
  const indexes = { pods: ["state", "node.zone"], nodes: ["state"] };
  const indexed: Transaction = { ops: [["configure", { indexes }]] };
  const faults = fc.record({
    reads: fc.array(fc.oneof({ weight: 20, arbitrary: fc.constant(false) }, fc.constant(true)), {
      maxLength: 200,
    }),
    batches: fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.constant<false>(false) },
        fc.constantFrom<Fault>("lost", "lost", "unknown, written", "unknown, not written"),
      ),
      { maxLength: 30 },
    ),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(transaction, { minLength: 1, maxLength: 25 }).map((all) => [indexed, ...all]),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
      faults,
      async (transactions, lengths, failing) => {
        const messages = messagesOf(transactions);
        const model = new IndexModel();
        for (const [at, one] of transactions.entries()) model.apply(one, messages[at + 1]?.time ?? 0);
        const kv = new FaultyKv(await memoryProvider().open("/nonexistent/in-memory"));
        let index = await IndexStore.open(kv.store, empty);
        kv.faults = failing;
        const reopened = async (): Promise<void> => {
          if (!kv.isSuspect) return;
          kv.isSuspect = false;
          const rest = kv.faults;
          kv.faults = NONE;
          index = await IndexStore.open(kv.store, empty);
          kv.faults = rest;
        };
        for (const run of cut(messages, lengths)) {
          for (let rest: readonly LogMessage[] = run; rest.length > 0;) {
            await survived(index.apply(rest));
            await reopened();
            rest = rest.filter(({ position }) => position > index.state.txId);
            await survived(index.buildFields());
            await reopened();
          }
        }
        kv.faults = NONE;
        while (await index.buildFields());
        await expectLikeModel(index, model, transactions);
        await index.close();
      },
    ),
    { numRuns: 400 },
  );
});

/** Of a failure only the store's own error may come out. */
async function survived(work: Promise<unknown>): Promise<void> {
  const [end] = await Promise.allSettled([work]);
  if (end?.status === "rejected") expect(end.reason).toMatchObject({ code: "DISK_FULL" });
}
