import { type KvStore, memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { splitKey } from "@cairn/client/protocol";
import type { TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const SEED = commitSeed();
const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

type Query = Omit<Parameters<IndexStore["list"]>[0], "bucket" | "limit" | "cursor">;
type Write = readonly [key: string, a: number | undefined];

// UTF-16 orders U+FFFF after U+10000, UTF-8 before it. "-" precedes "/", which ends a namespace.
const text = (...more: readonly string[]) =>
  fc
    .array(fc.constantFrom("a", "b", "-", "\0", "é", "\uffff", "\u{10000}", ...more), { maxLength: 2 })
    .map((letters) => letters.join(""));
const namespace = fc.oneof({ weight: 3, arbitrary: fc.constantFrom("a", "default") }, text()).filter(Boolean);
const name = fc.oneof(text("/"), fc.constantFrom("a", "b"));
const key = fc.tuple(namespace, name.filter(Boolean)).map((parts) => parts.join("/"));
const steps = fc.array(fc.tuple(key, fc.option(fc.nat(2), { freq: 5, nil: undefined })), {
  minLength: 10,
  maxLength: 40,
  size: "max",
});
/** A name alone, a key that may exist, or the place before the first key of a namespace. */
const bound = fc
  .oneof(
    key,
    name,
    namespace.map((one) => `${one}/`),
  )
  .filter(Boolean);
const within = fc.oneof(
  fc.record({ from: bound, to: bound, prefix: text("/") }, { requiredKeys: [] }),
  fc.record({ namespace, from: bound, to: bound, prefix: text("/") }, { requiredKeys: ["namespace"] }),
);
const query: fc.Arbitrary<Query> = fc
  .tuple(
    within,
    fc.constantFrom<Query>(
      {},
      {},
      { where: [{ field: "a", value: 1 }] },
      { where: [{ field: "a", is: ">=", value: 1 }] },
      { order: "-a" },
      { where: [{ field: "a", value: 1 }], order: "b" },
    ),
  )
  .map(([range, of]) => ({ ...range, ...of }));

function compareBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

/** Compares two keys, as documented: by namespace and then by name, each by its UTF-8 bytes. */
function compareKeys(one: string, other: string): number {
  const [left, right] = [splitKey(one), splitKey(other)];
  return compareBytes(left.namespace, right.namespace) || compareBytes(left.name, right.name);
}

/** Filters and sorts all documents. Each has `b`, which is its `a` as well. */
function expected(documents: ReadonlyMap<string, number>, of: Query): readonly string[] {
  const bounded = (end: string): string => (of.namespace === undefined ? end : `${of.namespace}/${end}`);
  const [condition] = [of.where ?? []].flat();
  const found = [...documents].filter(([id, a]) => {
    const parts = splitKey(id);
    return (
      (of.namespace === undefined || parts.namespace === of.namespace) &&
      parts.name.startsWith(of.prefix ?? "") &&
      (of.from === undefined || compareKeys(id, bounded(of.from)) >= 0) &&
      (of.to === undefined || compareKeys(id, bounded(of.to)) < 0) &&
      (condition === undefined || (condition.is === ">=" ? a >= 1 : a === 1))
    );
  });
  const isByValue = of.order !== undefined || condition?.is === ">=";
  const inOrder = found.toSorted(
    ([one, a], [other, b]) => (isByValue ? a - b : 0) || compareKeys(one, other),
  );
  return (of.order?.startsWith("-") === true ? inOrder.toReversed() : inOrder).map(([id]) => id);
}

let kv: KvStore;
let index: IndexStore;
let position: number;
let documents: Map<string, number>;

beforeEach(begin);
afterEach(async () => await index.close());

async function begin(): Promise<void> {
  kv = await memoryProvider().open("key-ranges");
  index = await IndexStore.open(kv, empty);
  documents = new Map();
  position = 1;
  await index.apply([{ position, time: 1, payload: encodeBirthRecord(birth) }]);
  await apply(["configure", { indexes: { pods: ["a", "b"] } }]);
  while (await index.buildFields());
}

async function apply(...ops: TxOperation[]): Promise<void> {
  position += 1;
  await index.apply([{ position, time: position, payload: encodeTransaction({ ops }, birth.log) }]);
}

async function write(all: readonly Write[]): Promise<void> {
  for (const [id, a] of all) {
    if (a === undefined) documents.delete(id);
    else documents.set(id, a);
    await apply(a === undefined ? ["delete", "pods", id] : ["put", "pods", id, { a, b: a }]);
  }
}

/** Reads a list page by page, and writes between its pages. */
async function read(of: Query, limit: number, writes: readonly (readonly Write[])[]) {
  const found: string[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const at = cursor === undefined ? {} : { cursor };
    const { documents: listed, cursor: next } = await index.list({ bucket: "pods", ...of, limit, ...at });
    for (const one of listed) found.push(`${one.namespace}/${one.name}`);
    await write(writes[pages] ?? []);
    pages += 1;
    cursor = next;
  } while (cursor !== undefined);
  return { found, pages };
}

async function expectLikeSorted(numRuns: number, seed?: number): Promise<void> {
  const lists = fc.array(fc.tuple(query, fc.integer({ min: 1, max: 4 }), fc.array(steps, { maxLength: 2 })), {
    minLength: 4,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(steps, lists, async (first, all) => {
      await index.close();
      await begin();
      await write(first);
      const past = new Map(documents);
      const txId = position;
      for (const [of, limit, writes] of all) {
        const wanted = expected(documents, of);
        const { found, pages } = await read(of, limit, writes);
        expect(found).toEqual(wanted);
        expect(pages).toBe(Math.max(1, Math.ceil(wanted.length / limit)));
        expect((await read({ ...of, asOf: { txId } }, limit, [])).found).toEqual(expected(past, of));
      }
    }),
    { numRuns, ...(seed === undefined ? {} : { seed }) },
  );
}

/** Returns the number of rows that `list` reads. */
async function rowsRead(list: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const snapshot = kv.snapshot.bind(kv);
  kv.snapshot = () => {
    const reader = snapshot();
    const range = reader.range.bind(reader);
    reader.range = async function* (of) {
      for await (const rows of range(of)) {
        count += rows.length;
        yield rows;
      }
    };
    return reader;
  };
  await list();
  kv.snapshot = snapshot;
  return count;
}

describe("a list from a key to another one", () => {
  const PROMISE = "equals the filtered and sorted documents, page by page, while documents are written";

  it(`${PROMISE} (seed ${SEED})`, async () => {
    await expectLikeSorted(40, SEED);
  });

  it(`${PROMISE}, in 300 logs`, { tags: "rest/campaign" }, async () => {
    await expectLikeSorted(300);
  });

  it("reads no more rows wherever it begins and however many follow: those of the page, and one more", async () => {
    const names = Array.from({ length: 3_000 }, (_, n) => `n${String(n).padStart(4, "0")}`);
    await apply(...names.map((one): TxOperation => ["put", "pods", one, { a: 1 }]));
    const where = [{ field: "a", value: 1 }];
    for (const of of [{}, { where }, { namespace: "default" }, { namespace: "default", prefix: "n" }])
      for (const at of [0, 1_500, 2_900]) {
        const list = { bucket: "pods", ...of, from: names[at] ?? "", to: "n2999", limit: 10 };
        let cursor = "";
        const counts = [
          await rowsRead(async () => ({ cursor = "" } = await index.list(list))),
          await rowsRead(async () => await index.list({ ...list, cursor })),
          await rowsRead(async () => await index.list({ ...list, from: "n2997" })),
        ];
        expect(counts).toEqual([11, 11, 2]);
      }
    await apply(["put", "pods", "z", { a: 1 }]);
    const past = { bucket: "pods", asOf: { txId: position - 1 }, limit: 10 };
    // As of an earlier transaction, a page reads as many rows as the store returns at once.
    const counts = new Set<number>();
    for (const at of [0, 1_000, 1_900])
      counts.add(await rowsRead(async () => await index.list({ ...past, from: names[at] ?? "" })));
    expect(counts.size).toBe(1);
  });

  it("that do not exist begins with the next one, and ends before a key of the default namespace", async () => {
    await write(["a/z", "b/a", "b/c", "default/a", "default/b", "e/a"].map((id) => [id, 1]));
    expect((await read({ from: "b/b", to: "b" }, 10, [])).found).toEqual(["b/c", "default/a"]);
    expect((await read({ from: "b/", to: "c/" }, 10, [])).found).toEqual(["b/a", "b/c"]);
  });

  it("is empty if the second one is not after the first one", async () => {
    await write(["a", "b", "c"].map((one) => [`default/${one}`, 1]));
    const where = [{ field: "a", value: 1 }];
    for (const of of [{}, { where }, { order: "-a" }, { asOf: { txId: position - 1 } }])
      for (const to of ["a", "b"])
        expect(await read({ ...of, from: "b", to }, 10, [])).toEqual({ found: [], pages: 1 });
  });

  it("is refused if one of them is empty, so that an empty variable does not mean everything", async () => {
    for (const option of ["from", "to"])
      for (const of of [{}, { namespace: "n" }, { order: "a" }])
        await expect(index.list({ bucket: "pods", ...of, [option]: "", limit: 10 })).rejects.toMatchObject({
          code: "REQUEST_INVALID",
          message: `${option} must not be empty.`,
        });
  });
});
