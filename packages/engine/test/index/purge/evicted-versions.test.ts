import { CairnError, type KvOperation, type KvReader, type KvStore, memoryProvider } from "@cairn/kv";
import type { TxOperation } from "@cairn/client";
import { expect, it } from "vitest";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const BIRTH = { log: "log-1", offset: 0 };
const EMPTY = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth: BIRTH });
const VERSIONS = 5_000;
const MANY = { bucket: "vault", namespace: "default", name: "many" };
const EVICTION: readonly TxOperation[] = [
  ["evict", "vault", "default/many"],
  ["evict", "vault", "default/few"],
];

/** A store whose batches are observed, and may fail. */
class ObservedKv {
  readonly store: KvStore;
  largest = 0;
  /** Called after each batch. */
  after: () => Promise<void> = async () => {};
  /** The number of batches after which the next ones fail. */
  left = Number.POSITIVE_INFINITY;

  constructor(rows: KvStore) {
    this.store = new Proxy(rows, {
      get: (target, name: keyof KvStore) => {
        if (name === "batch")
          return async (operations: readonly KvOperation[]) => await this.#batch(rows, operations);
        const member: unknown = target[name];
        return typeof member === "function" ? (member.bind(target) as unknown) : member;
      },
    });
  }

  async #batch(rows: KvStore, operations: readonly KvOperation[]): Promise<void> {
    if (this.left === 0) throw new CairnError("DISK_FULL", "No space left.");
    this.left -= 1;
    this.largest = Math.max(this.largest, operations.length);
    await rows.batch(operations);
    await this.after();
  }
}

function message(position: number, ops: readonly TxOperation[]): LogMessage {
  return { position, time: position * 1_000, payload: encodeTransaction({ ops }, BIRTH.log) };
}

/** The messages of a log whose last one evicts a document with many versions and others with few. */
function messages(): LogMessage[] {
  const log: LogMessage[] = [{ position: 1, time: 1_000, payload: encodeBirthRecord(BIRTH) }];
  const add = (...ops: TxOperation[]): void => void log.push(message(log.length + 1, ops));
  add(["put", "vault", "default/manyx", 0], ["put", "vault", "default/few", 1]);
  for (let n = 1; n <= VERSIONS; n += 1) add(["put", "vault", "default/many", n]);
  add(["put", "vault", "default/few", 2], ["put", "vault", "default/manyx", 1]);
  add(...EVICTION);
  return log;
}

const LOG = messages();

/** An index whose next message is the eviction. */
async function beforeEviction(): Promise<{ kv: ObservedKv; index: IndexStore; eviction: LogMessage }> {
  const kv = new ObservedKv(await memoryProvider().open("/nonexistent/in-memory"));
  const index = await IndexStore.open(kv.store, EMPTY);
  const eviction = LOG.at(-1) as LogMessage;
  await index.apply(LOG.slice(0, -1));
  kv.largest = 0;
  return { kv, index, eviction };
}

async function allRows(reader: KvReader): Promise<string[]> {
  const all: string[] = [];
  for await (const rows of reader.range({})) {
    for (const [key, value] of rows)
      all.push([key, value].map((part) => Buffer.from(part).toString("latin1")).join());
  }
  return all;
}

it("an eviction removes any number of versions in batches of bounded size, and no read returns any of them meanwhile", async () => {
  const { kv, index, eviction } = await beforeEviction();
  const seen: unknown[] = [];
  kv.after = async () => {
    const { versions } = await index.history(MANY, 10);
    const { documents } = await index.list({ bucket: "vault", limit: 10, asOf: { txId: 100 } });
    seen.push({
      versions: versions.length,
      past: await index.get(MANY, { txId: 100 }),
      listed: documents.map(({ name, json }) => [name, json]),
      digest: await index.digest(),
    });
  };
  await index.apply([eviction]);
  kv.after = async () => {};
  expect(kv.largest).toBeLessThan(VERSIONS / 2);
  expect(seen.length).toBeGreaterThan(3);
  const digest = await index.digest();
  const expected = { versions: 0, past: undefined, listed: [["manyx", "0"]], digest };
  expect(seen).toEqual(seen.map(() => expected));
  expect((await index.history({ ...MANY, name: "manyx" }, 10)).versions).toHaveLength(2);
  await index.close();
});

it(
  "an index that was closed, or whose disk was full, while versions were removed continues with them",
  { tags: "rest/slow" },
  async () => {
    const whole = await beforeEviction();
    const next = message(whole.eviction.position + 1, [["put", "vault", "default/many", "again"]]);
    await whole.index.apply([whole.eviction]);
    const evicted = await allRows(whole.index.rows);
    await whole.index.apply([next]);
    const rows = await allRows(whole.index.rows);
    await whole.index.close();
    let left = 1;
    for (let isDone = false; !isDone; left += 1) {
      for (const isReopened of [false, true]) {
        const { kv, index, eviction } = await beforeEviction();
        kv.left = left;
        const [end] = await Promise.allSettled([index.apply([eviction])]);
        isDone = end.status === "fulfilled";
        if (!isDone) expect(end).toMatchObject({ reason: { code: "DISK_FULL" } });
        kv.left = Number.POSITIVE_INFINITY;
        expect((await index.history(MANY, 10)).versions).toEqual([]);
        const reached = isReopened ? await IndexStore.open(kv.store, EMPTY) : index;
        if (isReopened) expect(await allRows(reached.rows)).toEqual(evicted);
        expect(reached.state.txId).toBe(eviction.position);
        await reached.apply([next]);
        expect(await allRows(reached.rows)).toEqual(rows);
        await reached.close();
      }
    }
    expect(left).toBeGreaterThan(4);
  },
);
