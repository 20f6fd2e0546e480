import { memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });
const FIELDS = ["state", "node.zone", "owner"];
/** The first transaction after the one that defines the fields. */
const FIRST = 3;

interface Record {
  readonly state?: string;
  readonly node?: { readonly zone: number };
  readonly owner?: boolean;
}

const record: fc.Arbitrary<Record> = fc.record(
  {
    state: fc.constantFrom("on", "off", "a:b"),
    node: fc.record({ zone: fc.nat(1) }),
    owner: fc.boolean(),
  },
  { requiredKeys: [] },
);
const anyName = fc.oneof(
  fc.constantFrom("x", "é"),
  fc.nat(30).map((n) => `${n % 2 === 0 ? "x" : "y"}${n}`),
);
const key = fc.tuple(fc.constantFrom("a", "b"), anyName);
/** Writes to keys. The value is undefined for a deletion. */
const steps = fc.array(fc.tuple(key, fc.option(record, { freq: 4, nil: undefined })), {
  minLength: 1,
  maxLength: 120,
  size: "max",
});
const queries = fc
  .subarray(
    [
      ["state", ["on", "a:b"]],
      ["node.zone", ["0", "1"]],
      ["owner", ["true"]],
    ] as const,
    { minLength: 2 },
  )
  .chain((fields) =>
    fc.tuple(
      ...fields.map(([field, values]) => fc.constantFrom(...values).map((value) => ({ field, value }))),
    ),
  )
  .chain((given) => fc.shuffledSubarray(given, { minLength: given.length }));
const range = fc.record(
  { namespace: fc.constantFrom("a", "b"), prefix: fc.constantFrom("x", "") },
  { requiredKeys: [] },
);

function message(position: number, ...ops: TxOperation[]): LogMessage {
  return { position, time: position, payload: encodeTransaction({ ops }, birth.log) };
}

/** Returns the value of a field as in a list's condition. */
function textOf({ state, node, owner }: Record, field: string): string | undefined {
  const value = field === "state" ? state : field === "owner" ? owner : node?.zone;
  return value === undefined ? undefined : String(value);
}

/** Returns the document of each key after the first `last` steps. */
function after(taken: readonly (readonly [readonly [string, string], Record | undefined])[], last: number) {
  const found = new Map<string, Record>();
  for (const [[namespace, name], value] of taken.slice(0, last)) {
    if (value === undefined) found.delete(`${namespace}/${name}`);
    else found.set(`${namespace}/${name}`, value);
  }
  return [...found].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

async function pages(index: IndexStore, query: Omit<Parameters<IndexStore["list"]>[0], "bucket">) {
  const found: [string, unknown][] = [];
  let cursor: string | undefined;
  do {
    const page = await index.list({ ...query, bucket: "pods", ...(cursor === undefined ? {} : { cursor }) });
    if (page.cursor !== undefined) expect(page.documents).toHaveLength(query.limit);
    for (const { namespace, name, json } of page.documents)
      found.push([`${namespace}/${name}`, JSON.parse(json)]);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

it(
  "a list by several fields contains the documents that meet all conditions, page by page, now and at any transaction",
  { tags: "rest/slow" },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        steps,
        queries,
        range,
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.nat(120), { maxLength: 4 }),
        async (taken, where, { namespace, prefix = "" }, limit, pasts) => {
          const index = await IndexStore.open(await memoryProvider().open("pods"), empty);
          await index.apply([
            { position: 1, time: 1, payload: encodeBirthRecord(birth) },
            message(2, ["configure", { indexes: { pods: FIELDS } }]),
            ...taken.map(([[space, name], value], at): LogMessage => {
              const id = `${space}/${name}`;
              const op: TxOperation =
                value === undefined ? ["delete", "pods", id] : ["put", "pods", id, { ...value }];
              return message(FIRST + at, op);
            }),
          ]);
          while (await index.buildFields());
          const within = { ...(namespace === undefined ? {} : { namespace }), prefix };
          for (const past of [undefined, ...pasts.map((one) => one % taken.length)]) {
            const wanted = after(taken, past ?? taken.length).filter(
              ([id, value]) =>
                (namespace === undefined || id.startsWith(`${namespace}/`)) &&
                id.slice(id.indexOf("/") + 1).startsWith(prefix) &&
                where.every((one) => textOf(value, one.field) === one.value),
            );
            const asOf = past === undefined ? {} : { asOf: { txId: FIRST - 1 + past } };
            expect(await pages(index, { ...within, ...asOf, limit, where })).toEqual(wanted);
          }
          await index.close();
        },
      ),
      { numRuns: 300 },
    );
  },
);

it("a list by several fields examines the documents of the rarest value", async () => {
  const kv = await memoryProvider().open("pods");
  const looked: number[] = [];
  const index = await IndexStore.open(kv, empty);
  const puts = Array.from({ length: 500 }, (_, n): TxOperation => [
    "put",
    "pods",
    `a/${n}`,
    { state: "on", owner: n === 499 },
  ]);
  await index.apply([
    { position: 1, time: 1, payload: encodeBirthRecord(birth) },
    message(2, ["configure", { indexes: { pods: FIELDS } }]),
    message(3, ...puts),
  ]);
  while (await index.buildFields());
  const read = kv.snapshot.bind(kv);
  kv.snapshot = () => {
    const reader = read();
    const getMany = reader.getMany.bind(reader);
    reader.getMany = (keys) => {
      looked.push(keys.length);
      return getMany(keys);
    };
    return reader;
  };
  const where = [
    { field: "state", value: "on" },
    { field: "owner", value: "true" },
  ];
  const { documents } = await index.list({ bucket: "pods", limit: 10, where });
  expect(documents.map(({ name }) => name)).toEqual(["499"]);
  // The list examined the counts of "on", "true" and true, and one document.
  expect(looked).toEqual([3, 1]);
  await index.close();
});
