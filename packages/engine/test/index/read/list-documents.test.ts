import { tmpdir } from "node:os";
import path from "node:path";
import { type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { listCursor, markedPlace } from "../../../src/index/read/cursor.ts";
import type { DocumentPage } from "../../../src/index/read/documents.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { listWhere } from "../../../src/index/read/list-where.ts";
import { ROW } from "../../../src/index/rows/row-keys.ts";
import { LargestRead } from "../support/largest-read.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const birth = { log: "log-1", offset: 0 };
let kv: KvStore;
let index: IndexStore;
let position = 0;
let messages: LogMessage[] = [];
beforeEach(async () => {
  kv = await memoryProvider().open(path.join(tmpdir(), "cairn-no-such-folder"));
  index = await emptyIndex(kv);
  messages = [{ position: 1, time: 1, payload: encodeBirthRecord(birth) }];
  await index.apply(messages);
  position = 1;
});
afterEach(async () => await index.close());

async function emptyIndex(store?: KvStore): Promise<IndexStore> {
  const own = store ?? (await memoryProvider().open(path.join(tmpdir(), "cairn-no-such-folder-either")));
  const identity = { id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth };
  return await IndexStore.open(own, emptyState(identity));
}

async function apply(...ops: TxOperation[]): Promise<void> {
  await applyTo(index, 0, ...ops);
}

/** Applies a message with a time after `from` (ms). */
async function applyTo(to: IndexStore, from: number, ...ops: TxOperation[]): Promise<void> {
  position += 1;
  const message = { position, time: from + position, payload: encodeTransaction({ ops }, birth.log) };
  messages.push(message);
  await to.apply([message]);
}

/**
 * Returns a function that returns whether a range of tombstones has been read from `kv` since its last call, as is done
 * to list everything as of an earlier time.
 */
function watchForTombstones(store: KvStore): () => boolean {
  let wereRead = false;
  const snapshot = store.snapshot.bind(store);
  store.snapshot = () => {
    const reader = snapshot();
    const range = reader.range.bind(reader);
    reader.range = (rows) => {
      wereRead ||= (rows.gte ?? rows.gt)?.[0] === ROW.tombstone;
      return range(rows);
    };
    return reader;
  };
  return () => {
    const were = wereRead;
    wereRead = false;
    return were;
  };
}

function putOn(name: string): TxOperation {
  return ["put", "b", `n/${name}`, { state: "on" }];
}

function key(name: string): { bucket: string; namespace: string; name: string } {
  return { bucket: "b", namespace: "n", name };
}

describe("a list", () => {
  it("of a namespace excludes namespaces that begin with its name and a 0x00", async () => {
    await apply(["put", "b", "n/a", 1], ["put", "b", "n\0x/c", 2]);
    const { documents } = await index.list({ bucket: "b", namespace: "n", limit: 10 });
    expect(documents.map(({ namespace }) => namespace)).toEqual(["n"]);
  });

  it("ends a page once its documents have 8 MiB, whatever its limit, and continues without a gap", async () => {
    const text = "x".repeat(900_000);
    for (let n = 0; n < 25; n += 1) {
      await apply(["put", "b", "n/overwritten", text], ["put", "b", `n/${100 + n}`, { state: "on", text }]);
    }
    await apply(["configure", { indexes: { b: ["state"] } }]);
    while (await index.buildFields());
    const listed = { bucket: "b", namespace: "n", prefix: "1", limit: 1_000 };
    const pastList = { ...listed, asOf: { txId: position } };
    const filtered = { ...listed, where: [{ field: "state", value: "on" }] };
    for (const query of [listed, pastList, filtered]) {
      const sizes: number[] = [];
      const names: string[] = [];
      for (let cursor: string | undefined = ""; cursor !== undefined;) {
        const page: DocumentPage = await index.list(cursor === "" ? query : { ...query, cursor });
        names.push(...page.documents.map(({ name }) => name));
        sizes.push(page.documents.length);
        cursor = page.cursor;
      }
      expect(sizes).toEqual([10, 10, 5]);
      expect(names).toEqual(Array.from({ length: 25 }, (_, n) => String(100 + n)));
    }
    const first = await index.history(key("overwritten"), 1_000);
    const rest = await index.history(key("overwritten"), 1_000, first.cursor);
    expect([first.versions.length, rest.versions.length]).toEqual([10, 10]);
  });

  it(
    "by a field continues with the same documents, however many keys have changed since",
    { tags: "rest/slow" },
    async () => {
      const names = ["a0", "a1", "a2", "a3", "a4", "z0", "z1", "z2", "z3", "z4"];
      await apply(["configure", { indexes: { b: ["state"] } }], ...names.map(putOn));
      while (await index.buildFields());
      const query = { bucket: "b", namespace: "n", limit: 2, where: [{ field: "state", value: "on" }] };
      let page: DocumentPage = await index.list(query);
      const pages = [page.documents.map(({ name }) => name)];
      // The first page ends before 50,000 new keys, and everything that follows it is deleted.
      for (let n = 0; n < 51; n += 1) {
        await apply(...Array.from({ length: 1_000 }, (_, at) => putOn(`m${n}-${at}`)));
      }
      await apply(...names.map((name): TxOperation => ["delete", "b", `n/${name}`]));
      const listedEverything = watchForTombstones(kv);
      const ways: boolean[] = [];
      while (page.cursor !== undefined) {
        page = await index.list({ ...query, cursor: page.cursor });
        pages.push(page.documents.map(({ name }) => name));
        ways.push(listedEverything());
      }
      expect(pages.map((found) => found.join(" "))).toEqual(["a0 a1", "a2 a3", "a4 z0", "z1 z2", "z3 z4"]);
      // Only a few keys after z0 have changed, so they are examined one by one again.
      expect(ways).toEqual([true, true, false, false]);
    },
  );

  it(
    "refuses to continue a list that began in a different history of the log",
    { tags: "rest/slow" },
    async () => {
      await apply(["put", "aaa", "x/1", 1], ["put", "aaa", "x/2", 2]);
      const shared = position;
      const lost = await emptyIndex();
      await lost.apply(messages.slice(0, shared));
      for (const [at, one] of [index, lost].entries()) {
        // The log lost the second transaction, and later stored the same one again.
        position = shared;
        await applyTo(one, 10_000 * (at + 1), ["put", "aaa", "x/2", 3]);
      }
      const { cursor = "" } = await lost.list({ bucket: "aaa", limit: 1 });
      const refused = {
        code: "REQUEST_INVALID",
        hint: expect.stringContaining("Start the list again") as string,
      };
      await expect(index.list({ bucket: "aaa", limit: 1, cursor })).rejects.toMatchObject(refused);
      // The chains are no longer known at the transaction at which the list began.
      for (const one of [index, lost]) {
        position = shared + 1;
        for (let n = 0; n < 4_000; n += 1) await applyTo(one, 30_000, ["put", "bbb", "x/1", n]);
      }
      await expect(index.list({ bucket: "aaa", limit: 1, cursor })).rejects.toMatchObject(refused);
      expect((await lost.list({ bucket: "aaa", limit: 1, cursor })).documents).toMatchObject([{ json: "3" }]);
      await lost.close();
    },
  );

  it("refuses the cursor of another list", async () => {
    await apply(["put", "aaa", "x/1", 1], ["put", "aaa", "x/2", 1], ["put", "aaa", "y/1", 1]);
    await apply(["put", "bbb", "x/1", 1]);
    const { cursor = "" } = await index.list({ bucket: "aaa", limit: 1 });
    const refused = { code: "REQUEST_INVALID" };
    await expect(index.list({ bucket: "bbb", limit: 9, cursor })).rejects.toMatchObject(refused);
    const other = { bucket: "aaa", namespace: "y", limit: 9, cursor };
    await expect(index.list(other)).rejects.toMatchObject(refused);
    const ours = { bucket: "bbb", limit: 9 };
    const place = await index.read((reader) => markedPlace(reader, 2));
    const forged = listCursor.encode(ours, place, "");
    await expect(index.list({ ...ours, cursor: forged })).rejects.toMatchObject(refused);
    expect((await index.list({ bucket: "aaa", limit: 9, cursor })).documents).toHaveLength(2);
  });
});

describe("an eviction", () => {
  it("keeps the history of a key whose name continues with a 0x00", async () => {
    await apply(["put", "b", "n/a", 1], ["put", "b", "n/a\0z", 1]);
    await apply(["put", "b", "n/a", 2], ["put", "b", "n/a\0z", 2]);
    await apply(["evict", "b", "n/a"]);
    expect((await index.history(key("a"), 10)).versions).toEqual([]);
    expect((await index.history(key("a\0z"), 10)).versions).toHaveLength(2);
  });
});

it("a list by fields reads at most 16 MiB of documents at once, and hardly more than its page", async () => {
  await apply(["configure", { indexes: { b: ["state", "kind"] } }]);
  while (await index.buildFields());
  const text = "x".repeat(1_000_000);
  for (let n = 0; n < 40; n += 1) await apply(["put", "b", `n/d${n}`, { state: "on", kind: "k", text }]);
  const where = [
    { field: "state", value: "on" },
    { field: "kind", value: "k" },
  ];
  for (const [limit, listed, bytes] of [
    [100, 9, 16 * 1024 * 1024],
    [1, 1, 2_100_000],
  ] as const) {
    for (const txId of [index.state.txId, index.state.txId - 1]) {
      const measured = new LargestRead();
      const page = await index.read((reader) =>
        listWhere(measured.of(reader), { bucket: "b", limit, where }, index.state, txId),
      );
      expect(page.documents).toHaveLength(listed);
      expect(measured.bytes).toBeLessThanOrEqual(bytes);
    }
  }
});
