import { type KvStore, memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Json, TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import type { FieldQuery } from "../../../src/index/read/field-query.ts";
import { indexedText, textOfIndexed } from "../../../src/index/rows/field-row-keys.ts";
import { ROW } from "../../../src/index/rows/row-keys.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const SEED = commitSeed();
const birth = { log: "log-1", offset: 0 };
const FIELDS = ["a", "b.c"];

type Document = { readonly a?: Json; readonly b?: { readonly c?: Json } };
type Query = Omit<Parameters<IndexStore["list"]>[0], "bucket" | "limit" | "cursor">;

const TEXTS = ["", "3", "true", "x", "x\0", "x\0y", "xy", "\uffff", "\u{10000}", "é"];
const NUMBERS = [0, -0, 3, 10, -1, -3.5, 1e-7, 5e-324, 2 ** 53 - 1, -1.7976931348623157e308, 1e21];
const NONE: readonly Json[] = [null, [1], { d: 1 }, "x".repeat(1_025), "\ud800"];
const any = fc.oneof(
  fc.string({ unit: "binary", maxLength: 3 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(...TEXTS, ...NUMBERS, true, false),
);
/** Few of the values, so that many documents have the same one. */
const frequent = (...values: readonly Json[]): fc.Arbitrary<Json> =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...values) },
    // Greater integers would lose digits.
    any.filter((one) => !Number.isInteger(one) || Number.isSafeInteger(one)),
    fc.constantFrom(...NONE),
  );
const fields = {
  a: frequent("", "3", "x", "x\0", "\uffff", "\u{10000}", 0, 3, -1, 10, true, false),
  b: fc.record({ c: frequent(3, "3", "x", true) }),
};
const anyDocument: fc.Arbitrary<Document> = fc.oneof(
  { weight: 8, arbitrary: fc.record(fields) },
  fc.record({ ...fields, b: fc.constant({}) }, { requiredKeys: [] }),
);
const key = fc
  .tuple(fc.constantFrom("n", "o"), fc.nat(11))
  .map(([space, name]) => `${space}/${name % 2 === 0 ? "x" : "y"}${name}`);
/** Writes to keys. The document is undefined for a deletion. */
const steps = fc.array(fc.tuple(key, fc.option(anyDocument, { freq: 5, nil: undefined })), {
  minLength: 10,
  maxLength: 40,
  size: "max",
});

const conditions = (field: string): fc.Arbitrary<readonly FieldQuery[]> => {
  const one = (is: readonly NonNullable<FieldQuery["is"]>[], ...bounds: readonly FieldQuery["value"][]) =>
    fc.record({ field: fc.constant(field), is: fc.constantFrom(...is), value: fc.constantFrom(...bounds) });
  const [lower, upper] = [[">", ">="] as const, ["<", "<="] as const];
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 3, arbitrary: one([":"], "3", "x", "true", 3).map((query) => [query]) },
    one([...lower, ...upper], "3", "x", 3, 0).map((query) => [query]),
    fc.tuple(one(upper, 3, 10, 1e21), one(lower, 0, -1, 3)),
    fc.tuple(one(lower, "", "3", "x"), one(upper, "x", "\uffff", "\u{10000}")),
    fc.tuple(one(lower, 0), one(upper, "x")),
  );
};
const query: fc.Arbitrary<Query> = fc
  .tuple(
    fc.tuple(conditions("a"), conditions("b.c")).map((all) => all.flat()),
    fc.constantFrom(undefined, "a", "-a", "b.c", "-b.c"),
    fc.constantFrom({}, {}, {}, { namespace: "n" }, { prefix: "x" }, { namespace: "o", prefix: "y1" }),
  )
  .map(([where, order, within]) => ({ where, ...(order === undefined ? {} : { order }), ...within }));

function valueOf(document: Document, field: string | undefined): Json | undefined {
  const found = field === "a" ? document.a : document.b?.c;
  if (typeof found === "number" || typeof found === "boolean") return found;
  if (typeof found !== "string" || Buffer.byteLength(found) > 1_024 || /\p{Cs}/u.test(found))
    return undefined;
  return found;
}

/** Compares two values of fields as policies.md describes it: false, true, numbers by value, strings by code points. */
function compareValues(a: Json, b: Json): number {
  if (typeof a !== typeof b)
    return ["boolean", "number", "string"].indexOf(typeof a) <
      ["boolean", "number", "string"].indexOf(typeof b)
      ? -1
      : 1;
  if (typeof a !== "string" || typeof b !== "string") return Math.sign(Number(a) - Number(b)) || 0;
  const [left, right] = [[...a], [...b]];
  for (const [at, char] of left.entries()) {
    const other = right[at];
    if (other === undefined) return 1;
    if (char !== other) return (char.codePointAt(0) ?? 0) < (other.codePointAt(0) ?? 0) ? -1 : 1;
  }
  return left.length < right.length ? -1 : 0;
}

function isMet({ field, is = ":", value: wanted }: FieldQuery, document: Document): boolean {
  const found = valueOf(document, field);
  if (found === undefined) return false;
  if (is === ":") return String(found) === String(wanted);
  if (typeof found !== typeof wanted) return false;
  const order = compareValues(found, wanted);
  return is.startsWith(">")
    ? order > 0 || (is === ">=" && order === 0)
    : order < 0 || (is === "<=" && order === 0);
}

/** Filters and sorts all documents. */
function expected(
  documents: ReadonlyMap<string, Document>,
  { where = [], order, namespace, prefix = "" }: Query,
) {
  const field = order?.replace("-", "") ?? where.find(({ is }) => is !== ":")?.field;
  const found = [...documents].filter(
    ([id, one]) =>
      (namespace === undefined || id.startsWith(`${namespace}/`)) &&
      id.slice(2).startsWith(prefix) &&
      where.every((condition) => isMet(condition, one)) &&
      (field === undefined || valueOf(one, field) !== undefined),
  );
  const inOrder = found.toSorted(([a, one], [b, two]) => {
    const [left, right] = [valueOf(one, field), valueOf(two, field)];
    const byValue = field === undefined ? 0 : compareValues(left ?? "", right ?? "");
    return byValue || (a < b ? -1 : 1);
  });
  return (order?.startsWith("-") === true ? inOrder.toReversed() : inOrder).map(([id]) => id);
}

let kv: KvStore;
let index: IndexStore;
let position: number;
let documents: Map<string, Document>;

beforeEach(begin);
afterEach(async () => await index.close());

async function begin(): Promise<void> {
  const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });
  kv = await memoryProvider().open("lists");
  index = await IndexStore.open(kv, empty);
  await index.apply([{ position: 1, time: 1, payload: encodeBirthRecord(birth) }]);
  position = 1;
  documents = new Map();
  await apply(["configure", { indexes: { pods: FIELDS } }]);
  while (await index.buildFields());
}

async function apply(...ops: TxOperation[]): Promise<void> {
  position += 1;
  await index.apply([{ position, time: position, payload: encodeTransaction({ ops }, birth.log) }]);
}

async function write(all: readonly (readonly [string, Document | undefined])[]): Promise<void> {
  for (const [id, one] of all) {
    if (one === undefined) documents.delete(id);
    else documents.set(id, one);
    await apply(one === undefined ? ["delete", "pods", id] : ["put", "pods", id, one as Json]);
  }
}

/** Counts the rows of fields and the documents that reads of the store return from now on. */
function countReads(): { rows: number; documents: number } {
  const counts = { rows: 0, documents: 0 };
  const snapshot = kv.snapshot.bind(kv);
  kv.snapshot = () => {
    const reader = snapshot();
    const [range, getMany] = [reader.range.bind(reader), reader.getMany.bind(reader)];
    reader.range = async function* (of) {
      for await (const rows of range(of)) {
        counts.rows += rows.length;
        yield rows;
      }
    };
    reader.getMany = async (keys) => {
      counts.documents += keys.filter(([kind]) => kind === ROW.document).length;
      return await getMany(keys);
    };
    return reader;
  };
  return counts;
}

/** Reads a list page by page, and writes between its pages. */
async function read(
  of: Query,
  limits: readonly number[],
  writes: readonly Parameters<typeof write>[0][] = [],
) {
  const found: string[] = [];
  let cursor: string | undefined;
  for (let page = 0; page === 0 || cursor !== undefined; page += 1) {
    if (page > 200) throw new Error("the list does not end");
    const limit = limits[page % limits.length] ?? 1;
    const at = cursor === undefined ? {} : { cursor };
    const { documents: listed, cursor: next } = await index.list({ bucket: "pods", ...of, limit, ...at });
    if (next !== undefined) expect(listed).toHaveLength(limit);
    for (const { namespace, name } of listed) found.push(`${namespace}/${name}`);
    cursor = next;
    await write(writes[page] ?? []);
  }
  return found;
}

async function expectLikeSorted(numRuns: number, seed?: number): Promise<void> {
  const limits = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.array(fc.tuple(query, limits, fc.array(steps, { maxLength: 3 })), { minLength: 3, maxLength: 6 }),
      async (first, lists) => {
        await index.close();
        await begin();
        await write(first);
        const past = new Map(documents);
        const txId = position;
        for (const [of, sizes, writes] of lists) {
          const wanted = expected(documents, of);
          expect(await read(of, sizes, writes)).toEqual(wanted);
          expect(await read({ ...of, asOf: { txId } }, sizes)).toEqual(expected(past, of));
        }
      },
    ),
    { numRuns, ...(seed === undefined ? {} : { seed }) },
  );
}

describe("a list by ranges and in the order of a field", () => {
  const PROMISE = "equals the filtered and sorted documents, page by page, while documents are written";

  it(`${PROMISE} (seed ${SEED})`, async () => {
    await expectLikeSorted(30, SEED);
  });

  it(`${PROMISE}, in 200 logs`, { tags: "rest/campaign" }, async () => {
    await expectLikeSorted(200);
  });

  it("equals them however many transactions have followed since it began", async () => {
    const all = Array.from(
      { length: 60 },
      (_, n) => [`n/${n}`, { a: (n * 7) % 60, b: { c: n % 2 } }] as const,
    );
    await write(all);
    await write([["n/59", undefined]]);
    const lists = ["a", "-a"].flatMap((order): Query[] => [
      { order },
      { order, where: [{ field: "b.c", value: "1" }] },
    ]);
    const wanted = lists.map((of) => expected(documents, of));
    const txId = position;
    const later = Array.from({ length: 10_001 }, (_, n) => {
      const ops: TxOperation[] = [
        n % 3 === 0 ? ["delete", "pods", `n/${n % 60}`] : ["put", "pods", `n/${n % 60}`, { a: n }],
      ];
      return { position: position + 1 + n, time: position, payload: encodeTransaction({ ops }, birth.log) };
    });
    await index.apply(later);
    for (const [at, of] of lists.entries())
      expect(await read({ ...of, asOf: { txId } }, [7, 20])).toEqual(wanted[at]);
  });

  it.each<Query>([{ order: "a" }, { order: "-a" }, { where: [{ field: "a", is: ">=", value: 1 }] }])(
    "is refused with the reason if its field was removed and added again after it began: %j",
    async (of) => {
      await write([1, 2, 3].map((n) => [`n/${n}`, { a: n }] as const));
      const { cursor = "" } = await index.list({ bucket: "pods", ...of, limit: 1 });
      await apply(["configure", { indexes: {} }]);
      await apply(["configure", { indexes: { pods: FIELDS } }]);
      while (await index.buildFields());
      await expect(index.list({ bucket: "pods", ...of, limit: 1, cursor })).rejects.toMatchObject({
        code: "REQUEST_INVALID",
        message: expect.stringMatching(
          /^The field "a", .* was removed from the indexes and added again/,
        ) as string,
      });
    },
  );

  it("reads one row and document more than its page has or, for a rare value, all documents that have it", async () => {
    await write(Array.from({ length: 400 }, (_, n) => [`n/${n}`, { a: n, b: { c: n % 100 } }] as const));
    const counts = countReads();
    const pageOf = async (of: Query) => {
      Object.assign(counts, { rows: 0, documents: 0 });
      const page = await index.list({ bucket: "pods", ...of, limit: 3 });
      return { ...counts, names: page.documents.map(({ name }) => name) };
    };
    const range: FieldQuery[] = [
      { field: "a", is: ">=", value: 100 },
      { field: "a", is: "<", value: 300 },
    ];
    expect(await pageOf({ where: range })).toEqual({ rows: 4, documents: 4, names: ["100", "101", "102"] });
    expect(await pageOf({ where: range, order: "-a" })).toMatchObject({
      rows: 4,
      names: ["299", "298", "297"],
    });
    const rare = { where: [{ field: "b.c", value: 7 }], order: "-a" };
    expect(await pageOf(rare)).toEqual({ rows: 4, documents: 4 + 4, names: ["307", "207", "107"] });
  });
});

it("the values of a field are stored in their order, and found again from their rows", () => {
  expect(indexedText(-0)).toBe(indexedText(0));
  fc.assert(
    fc.property(any, any, (one, other) => {
      const [a = "", b = ""] = [one, other].map(indexedText);
      expect(Buffer.compare(Buffer.from(a), Buffer.from(b))).toBe(compareValues(one, other));
      expect(textOfIndexed(a)).toBe(String(one));
    }),
    { numRuns: 2_000 },
  );
});
