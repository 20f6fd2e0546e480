import { type KvStore, memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { ROW } from "../../../src/index/rows/row-keys.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";

const SEED = commitSeed();

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

function message(position: number, ops: TxOperation[]): LogMessage {
  return { position, time: position, payload: encodeTransaction({ ops }, birth.log) };
}

const key = fc.constantFrom("default/a", "default/b");
const document = fc.record({ state: fc.constantFrom("on", "off"), node: fc.constantFrom("n1", "n2") });
/** Puts and deletes, some of which are aborted by a match. */
const transaction = fc
  .tuple(
    fc.oneof(
      { weight: 3, arbitrary: fc.tuple(fc.constant("put" as const), fc.constant("jobs"), key, document) },
      fc.tuple(fc.constant("delete" as const), fc.constant("jobs"), key),
    ),
    fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, fc.constantFrom(3, 4, 5)),
  )
  .map(([write, expected]): TxOperation[] =>
    expected === null ? [write] : [["match", "jobs", write[2], expected], write],
  );

const transactions = fc.array(transaction, { minLength: 1, maxLength: 5 });

async function fieldRows(kv: KvStore): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of kv.range({})) {
    for (const [row, value] of rows) {
      if (row[0] !== ROW.field && row[0] !== ROW.fieldCount) continue;
      found.push(`${Buffer.from(row).toString("latin1")} = ${Buffer.from(value).toString("hex")}`);
    }
  }
  return found;
}

/** Returns an index whose fields are built. */
async function indexed(kv: KvStore): Promise<IndexStore> {
  const index = await IndexStore.open(kv, empty);
  await index.apply([
    { position: 1, time: 1, payload: encodeBirthRecord(birth) },
    message(2, [["configure", { indexes: { jobs: ["state", "node"] } }]]),
  ]);
  while (await index.buildFields());
  return index;
}

async function expectRowsOfWrites(numRuns: number, seed?: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(transactions, transactions, async (first, then) => {
      const messages = [...first, ...then].map((ops, index) => message(3 + index, ops));
      const [together, alone] = await Promise.all([memoryProvider().open("-"), memoryProvider().open("-")]);
      const [quick, slow] = await Promise.all([indexed(together), indexed(alone)]);
      await quick.apply(messages.slice(0, first.length));
      await quick.apply(messages.slice(first.length));
      for (const one of messages) await slow.apply([one]);
      expect(await fieldRows(together)).toEqual(await fieldRows(alone));
      await Promise.all([quick.close(), slow.close()]);
    }),
    { numRuns, ...(seed === undefined ? {} : { seed }) },
  );
}

const PROMISE =
  "the rows of indexed fields follow the writes that take effect, including several to a key in one batch";

it(`${PROMISE} (seed ${SEED})`, async () => {
  await expectRowsOfWrites(50, SEED);
});

it(`${PROMISE}, in 500 logs`, { tags: "rest/campaign" }, async () => {
  await expectRowsOfWrites(500);
});
