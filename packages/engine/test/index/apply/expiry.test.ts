import { type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, expect, it } from "vitest";
import type { Policies, TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });
const DAY = 86_400_000;
const DONE: Policies = {
  expire: { executions: { when: { state: ["completed", "failed"] }, after: "P30D" } },
};

class Log {
  readonly messages: LogMessage[] = [{ position: 1, time: 0, payload: encodeBirthRecord(birth) }];

  add(time: number, ...ops: TxOperation[]): this {
    this.messages.push({
      position: this.messages.length + 1,
      time,
      payload: encodeTransaction({ ops }, birth.log),
    });
    return this;
  }
}

const opened: KvStore[] = [];
afterEach(async () => {
  for (const kv of opened.splice(0)) await kv.close();
});

async function indexOf({ messages }: Log, run = 10_000): Promise<IndexStore> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  opened.push(kv);
  const index = await IndexStore.open(kv, empty);
  for (let from = 0; from < messages.length; from += run) await index.apply(messages.slice(from, from + run));
  return index;
}

const put = (name: string, state: string): TxOperation => ["put", "executions", name, { state }];
const tick: TxOperation = ["put", "clock", "now", 0];

async function names(index: IndexStore): Promise<string[]> {
  const { documents } = await index.list({ bucket: "executions", limit: 1_000 });
  return documents.map(({ name }) => name);
}

it("a document expires once the rule's time has passed since its last write, as measured by transaction times, and not before", async () => {
  const log = new Log().add(1, ["configure", DONE]).add(2, put("a", "completed"), put("b", "running"));
  log.add(10 * DAY, put("c", "completed"), put("a", "failed"));
  expect(await names(await indexOf(log.add(40 * DAY - 1, tick)))).toEqual(["a", "b", "c"]);
  const index = await indexOf(log.add(40 * DAY, tick));
  expect(await names(index)).toEqual(["b"]);
  const { versions } = await index.history({ bucket: "executions", namespace: "default", name: "a" }, 10);
  expect(versions.map(({ revision, deleted }) => [revision, deleted])).toEqual([
    [log.messages.length, true],
    [4, false],
    [3, false],
  ]);
});

it("a write to a due document keeps the document, because expiry follows the transaction's own operations", async () => {
  const log = new Log().add(1, ["configure", DONE]).add(2, put("a", "completed"));
  log.add(60 * DAY, ["match", "executions", "default/a", 3], put("a", "completed"));
  const index = await indexOf(log);
  expect(await index.outcome(4)).toMatchObject({ committed: true });
  expect(await names(index)).toEqual(["a"]);
});

it("documents that are older than the rule also expire, and no document expires because of a removed rule", async () => {
  const log = new Log();
  for (let n = 0; n < 450; n += 1) log.add(n, put(`e${String(n).padStart(3, "0")}`, "failed"));
  log.add(31 * DAY, ["configure", DONE]);
  // The first transaction finds some documents, which expire with the next one.
  const left = [450, 350, 250, 150];
  for (const count of left) {
    log.add(31 * DAY, ["delete", "executions", "nothing"]);
    expect((await indexOf(log, 7)).state.documents).toBe(count);
  }
  log.add(31 * DAY, ["configure", {}]);
  const before = (await indexOf(log)).state.documents;
  for (let n = 0; n < 9; n += 1) log.add(32 * DAY, ["delete", "executions", "nothing"]);
  expect(before).toBe(50);
  expect((await indexOf(log)).state.documents).toBe(before);
});

it("a bounded number of documents expires in a transaction, in the order in which they became due, identically on every node", async () => {
  const log = new Log().add(1, ["configure", DONE]);
  for (let n = 0; n < 250; n += 1) log.add(2 + n, put(`e${String(999 - n)}`, "completed"));
  log.add(100 * DAY, tick);
  const index = await indexOf(log);
  expect(await names(index)).toEqual(Array.from({ length: 150 }, (_, n) => `e${750 + n}`));
  log.add(100 * DAY, tick).add(100 * DAY, tick);
  const [one, other] = [await indexOf(log), await indexOf(log, 3)];
  expect(await names(one)).toEqual([]);
  expect(await one.digest()).toEqual(await other.digest());
});

it("a longer rule also applies to documents written before it, even if they are due by the previous rule", async () => {
  const log = new Log().add(1, ["configure", DONE]).add(2, put("a", "completed"));
  const longer = { expire: { executions: { when: { state: ["completed", "failed"] }, after: "P60D" } } };
  log
    .add(10 * DAY, ["configure", longer])
    .add(11 * DAY, tick)
    .add(40 * DAY, tick)
    .add(59 * DAY, tick);
  expect(await names(await indexOf(log))).toEqual(["a"]);
  expect(await names(await indexOf(log, 1))).toEqual(["a"]);
  log.add(61 * DAY, tick);
  expect(await names(await indexOf(log))).toEqual([]);
});
