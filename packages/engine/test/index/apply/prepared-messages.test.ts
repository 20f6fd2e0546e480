import { type KvStore, memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import { FaultyKv, NONE } from "../support/faulty-kv.ts";
import { transaction } from "../support/transactions-arbitrary.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

/** What happens to a group of messages before it is applied. */
const preparation = fc.constantFrom(
  "none",
  "prepared",
  "still being prepared",
  "replaced by other messages",
  "prepared before the group before it is applied",
  "prepared, and then fields are built",
);

const group = fc.record({
  transactions: fc.array(transaction, { minLength: 1, maxLength: 4 }),
  others: fc.array(transaction, { minLength: 1, maxLength: 4 }),
  preparation,
});

function messagesOf(payloads: readonly Uint8Array[], from: number): LogMessage[] {
  return payloads.map((payload, at) => ({ position: from + at, time: 1_000 * (from + at), payload }));
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function rowsOf(kv: KvStore): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of separateRows(kv)) {
    for (const [key, value] of rows)
      found.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
  }
  return found;
}

it(
  "the rows of an index do not depend on which messages were prepared, or on whether they were stored",
  { tags: "rest/slow" },
  async () => {
    let prepared = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(group, { minLength: 1, maxLength: 8 }), async (groups) => {
        const [plainKv, kv] = [
          await memoryProvider().open("/none/1"),
          await memoryProvider().open("/none/2"),
        ];
        const [plain, index] = [await IndexStore.open(plainKv, empty), await IndexStore.open(kv, empty)];
        let last = 2;
        // Fields are built from the documents that are in the index by then, so they must include the later changes.
        const configure = encodeTransaction(
          { ops: [["configure", { indexes: { pods: ["state"] } }]] },
          birth.log,
        );
        const first = messagesOf([encodeBirthRecord(birth), configure], 1);
        let applying: Promise<unknown> = index.apply(first);
        await plain.apply(first);
        for (const { transactions, others, preparation: how } of groups) {
          const encode = (all: typeof transactions): LogMessage[] => {
            const payloads = all.map((one) => encodeTransaction(one, birth.log));
            return messagesOf(payloads, last + 1);
          };
          const messages = encode(transactions);
          const replaced = encode(others);
          last += messages.length;
          if (how === "prepared before the group before it is applied") index.prepare(messages);
          await applying;
          if (how === "replaced by other messages") index.prepare(replaced);
          else if (how !== "none") index.prepare(messages);
          if (how !== "still being prepared") await turns(20);
          if (how.endsWith("built")) while (await index.buildFields());
          prepared += how === "none" ? 0 : 1;
          applying = index.apply(messages);
          await plain.apply(messages);
        }
        await applying;
        while (await index.buildFields());
        while (await plain.buildFields());
        expect(index.state).toEqual(plain.state);
        expect(await rowsOf(kv)).toEqual(await rowsOf(plainKv));
        await Promise.all([index.close(), plain.close()]);
      }),
      { numRuns: 200 },
    );
    expect(prepared).toBeGreaterThan(100);
  },
);

it("prepared messages are applied without reading anything", async () => {
  const rows = await memoryProvider().open("/none/3");
  const faulty = new FaultyKv(rows);
  const index = await IndexStore.open(faulty.store, empty);
  await index.apply(messagesOf([encodeBirthRecord(birth)], 1));
  const put = encodeTransaction({ ops: [["put", "pods", "a", 1]] }, birth.log);
  const messages = messagesOf([put], 2);
  index.prepare(messages);
  await turns(20);
  faulty.faults = { reads: Array.from({ length: 10 }, () => true), batches: [] };
  await index.apply(messages);
  expect(index.state.txId).toBe(2);
  faulty.faults = NONE;
  await index.close();
});
