import { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import type { CheckpointStore } from "@cairn/checkpoint";
import { memoryStore } from "@cairn/checkpoint/testing";
import type { LogMessage, TxLog } from "@cairn/engine";
import { CairnError, type KvReader, type KvRow, type KvStore, memoryProvider } from "@cairn/kv";
import { wrapped } from "@cairn/text";
import { expect, test } from "vitest";
import { createSystem } from "../../src/create-system.ts";
import { configOf } from "../support/read.ts";

/** Any answer or thrown value of a method. */
type Faults = Readonly<Record<string, (...args: never[]) => unknown>>;

const message = (position: number, more: object = {}): LogMessage => ({
  position,
  time: 1,
  payload: Buffer.from("m"),
  ...more,
});

const none = async (): Promise<void> => undefined;

async function opened(faults: Faults): Promise<TxLog> {
  const names = ["id", "create", "exists", "append", "bounds", "fetch", "read", "close"];
  const methods = Object.fromEntries(names.map((name) => [name, none]));
  const openLog = () => ({ name: "mine", maxPayload: 1_000, ...methods, ...faults });
  const object = { "cairn/tx-log": { "cairn/module": openLog } };
  const system = await createSystem(await configOf({ object }));
  return await system.openTxLog({ signal: new AbortController().signal });
}

/** Returns what an iterable yields, in one array. */
async function all<T>(pages: AsyncIterable<readonly T[]>): Promise<readonly T[]> {
  const found: T[] = [];
  for await (const page of pages) found.push(...page);
  return found;
}

async function* yielding(...pages: unknown[]): AsyncGenerator<unknown, void, void> {
  yield* pages;
}

const throwing = (value: unknown) => async (): Promise<never> => {
  throw value;
};

const append = (log: TxLog): Promise<unknown> => log.append(Buffer.from("m"));
const read = (log: TxLog): Promise<unknown> => all(log.read(5, { signal: new AbortController().signal }));

const POSITION = /^The log of openLog: append\(\) returned .*, not a position, which is a positive integer,/;
const LATER = /^The log of openLog: read\(\) yielded .*, not a later message, with a Uint8Array and a time/;

test.each<[string, Faults, (log: TxLog) => Promise<unknown>, RegExp]>([
  ["a position as text", { append: async () => ({ position: "13", duplicate: false }) }, append, POSITION],
  ["a BigInt", { append: async () => ({ position: 13n, duplicate: false }) }, append, POSITION],
  ["a fraction", { append: async () => ({ position: 13.5, duplicate: false }) }, append, POSITION],
  ["no number", { append: async () => ({ position: Number.NaN, duplicate: false }) }, append, POSITION],
  ["nothing", { append: async () => undefined }, append, POSITION],
  ["no answer to whether it is a duplicate", { append: async () => ({ position: 13 }) }, append, POSITION],
  ["a thrown string", { append: throwing("down") }, append, /append\(\) threw 'down'\. The message may/],
  ["a thrown undefined", { append: throwing(undefined) }, append, /threw undefined\. The message may/],
  ["a thrown error", { append: throwing(new TypeError("x")) }, append, /threw an error \(x\)\. The/],
  [
    "bounds as text",
    { bounds: async () => ({ first: "1", last: "2" }) },
    (log) => log.bounds(),
    /bounds\(\)/,
  ],
  [
    "bounds without an end",
    { bounds: async () => ({ first: 1, last: Infinity }) },
    (log) => log.bounds(),
    /./,
  ],
  ["another message", { fetch: async () => message(4) }, (log) => log.fetch(5), /fetch\(\) returned/],
  ["a message twice", { read: () => yielding([message(5), message(5)]) }, read, LATER],
  ["an array twice", { read: () => yielding([message(5)], [message(5)]) }, read, LATER],
  ["messages in reverse", { read: () => yielding([message(6), message(5)]) }, read, LATER],
  ["an earlier message", { read: () => yielding([message(4)]) }, read, LATER],
  ["read positions as text", { read: () => yielding([message(5, { position: "5" })]) }, read, LATER],
  ["a time as text", { read: () => yielding([message(5, { time: "2026-11-30" })]) }, read, LATER],
  ["no time", { read: () => yielding([message(5, { time: Number.NaN })]) }, read, LATER],
  ["a payload as text", { read: () => yielding([message(5, { payload: "m" })]) }, read, LATER],
  ["a message alone", { read: () => yielding(message(5)) }, read, /read\(\) yielded .*, not an array\.$/],
  ["null", { read: () => yielding(null) }, read, /read\(\) yielded null, not an array\.$/],
  [
    "no function that ends a listener",
    { onStoring: none },
    async (log) => log.onStoring?.(() => {}),
    /onStoring\(\) returned Promise .*, not a function that ends it\.$/,
  ],
  [
    "undefined in its place",
    { onRestored: () => undefined },
    async (log) => log.onRestored?.(() => {}),
    /onRestored\(\) returned undefined, not a function/,
  ],
  ["a promise that is rejected", { read: throwing("gone") }, read, /read\(\) threw 'gone'\.$/],
])("a log that answers with %s is reported as the fault of its module", async (_, faults, call, told) => {
  const error: unknown = await call(await opened(faults)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: "LOG_UNREACHABLE",
    message: expect.stringMatching(told),
    hint: expect.stringMatching(/describeTxLog of @cairn\/engine\/testing\./),
  });
});

test("what a log answers as its contract says passes unchanged", async () => {
  const messages = [message(5), message(7, { nanoseconds: 999_999 })];
  const log = await opened({
    append: async () => ({ position: 13, duplicate: true }),
    bounds: async () => ({ first: 1, last: 0 }),
    read: () => yielding(messages),
  });
  expect(await append(log)).toEqual({ position: 13, duplicate: true });
  expect(await log.bounds()).toEqual({ first: 1, last: 0 });
  expect((await all(log.read(5, { signal: new AbortController().signal }))).at(1)).toBe(messages[1]);
});

const ROWS = ["a", "b", "c", "d"].map((key): KvRow => [Buffer.from(key), Buffer.from(`${key}1`)]);

async function storeOf(faults: Faults): Promise<KvStore> {
  const provider = memoryProvider();
  const createKv = () =>
    wrapped<typeof provider>(provider, {
      open: async (dir) => wrapped<KvStore>(await provider.open(dir), faults),
    });
  const object = { "cairn/index-store": { "kv-store": { "cairn/module": createKv } } };
  const store = await (await createSystem(await configOf({ object }))).kvProvider.open("memory");
  await store.batch(ROWS.map(([key, value]) => ({ type: "put", key, value })));
  return store;
}

const [a, b, c, d] = ROWS;
const between = (reader: KvReader): Promise<unknown> =>
  all(reader.range({ gt: Buffer.from("a"), lt: Buffer.from("d"), limit: 2 }));
const NEXT =
  /^The key-value store of createKv: range\(\) yielded \[.*\], not a row of the range, with the next key/;

test.each<[string, Faults, (store: KvStore) => Promise<unknown>, RegExp]>([
  ["rows in reverse", { range: () => yielding([c, b]) }, between, NEXT],
  ["a row twice", { range: () => yielding([b, b]) }, between, NEXT],
  ["an array twice", { range: () => yielding([b], [b]) }, between, NEXT],
  ["the row of an exclusive bound", { range: () => yielding([a, b]) }, between, NEXT],
  ["the row of the exclusive end", { range: () => yielding([c, d]) }, between, NEXT],
  [
    "more rows than the limit",
    { range: () => yielding([b, [Buffer.from("bb"), Buffer.from("1")], c]) },
    between,
    NEXT,
  ],
  ["a value as text", { range: () => yielding([[Buffer.from("b"), "b1"]]) }, between, NEXT],
  [
    "rows in their order to a range in reverse",
    { range: () => yielding([b, c]) },
    (store) => all(store.range({ reverse: true })),
    NEXT,
  ],
  [
    "a snapshot's rows in reverse",
    { snapshot: () => ({ get() {}, getMany() {}, range: () => yielding([c, b]), close() {} }) },
    (store) => between(store.snapshot()),
    NEXT,
  ],
  [
    "too few values",
    { getMany: async () => [] },
    (store) => store.getMany([Buffer.from("a")]),
    /getMany\(\) returned \[\], not/,
  ],
  [
    "a value as text",
    { get: async () => "a1" },
    async (store) => await store.get(Buffer.from("a")),
    /get\(\) returned 'a1', not/,
  ],
  [
    "undefined, thrown at once,",
    {
      get: () => {
        throw undefined;
      },
    },
    async (store) => await store.get(Buffer.from("a")),
    /get\(\) threw undefined\.$/,
  ],
  [
    "no numbers of files",
    { stats: async () => ({ bytes: Number.NaN, files: -1 }) },
    (store) => store.stats(),
    /stats\(\) returned/,
  ],
  [
    "no purge",
    { purge: async () => ({}) },
    async (store) => store.purge?.([]),
    /purge\(\) returned .*, not a purge\.$/,
  ],
  [
    "no state of a purge",
    { purge: () => ({ run: none }) },
    async (store) => await store.purge?.([]).run({ withinMs: 1, alone: (work) => work() }),
    /run\(\) returned undefined, not the state of the purge\.$/,
  ],
  ["a thrown string", { compact: throwing("no") }, (store) => store.compact(), /compact\(\) threw 'no'\.$/],
])(
  "a key-value store that answers with %s is reported as the fault of its module",
  async (_, faults, call, told) => {
    const error: unknown = await call(await storeOf(faults)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "SYSTEM_REFUSED",
      message: expect.stringMatching(told),
      hint: expect.stringMatching(/kvStoreSuite of @cairn\/kv\/testing\./),
    });
  },
);

test("a batch that a key-value store refuses with no error of Cairn has an unknown outcome", async () => {
  await expect(storeOf({ batch: throwing("torn") })).rejects.toMatchObject({
    code: "SYSTEM_REFUSED",
    message: "The key-value store of createKv: batch() threw 'torn'. Whether it changed anything is unknown.",
  });
});

async function checkpointsOf(faults: Faults): Promise<CheckpointStore> {
  const createStore = () => wrapped<CheckpointStore>(memoryStore(), faults);
  const checkpointer = { "approx-frequency": 1_000, store: { "cairn/module": createStore } };
  const object = { "cairn/index-store": { "kv-store": { checkpointer } } };
  const { checkpointer: made } = await createSystem(await configOf({ object }));
  if (made === undefined) throw new Error("There is no checkpointer.");
  return made.store;
}

const files = (store: CheckpointStore): Promise<unknown> => store.list("a");

test.each<[string, Faults, (store: CheckpointStore) => Promise<unknown>, RegExp]>([
  [
    "a Buffer as text",
    { read: async () => ({ text: Buffer.from("{}"), tag: "1" }) },
    (store) => store.read("a"),
    /read\(\) returned .*, not a text/,
  ],
  [
    "no time",
    { now: async () => Number.NaN },
    (store) => store.now(),
    /now\(\) returned NaN, not a number of ms\.$/,
  ],
  ["a date", { now: async () => new Date(0) }, (store) => store.now(), /now\(\) returned 1970/],
  ["nothing", { list: async () => undefined }, files, /list\(\) returned undefined, not an array/],
  [
    "files with dates",
    { list: async () => [{ name: "a", bytes: 1, modifiedAt: new Date(0) }] },
    files,
    /list\(\)/,
  ],
  [
    "files without the prefix",
    { list: async () => [{ name: "b", bytes: 1, modifiedAt: 1 }] },
    files,
    /list\(\)/,
  ],
  [
    "no boolean",
    { create: async () => undefined },
    (store) => store.create("a", "1"),
    /create\(\) returned undefined, not a boolean\. Whether/,
  ],
  [
    "true for a tag",
    { replace: async () => true },
    (store) => store.replace("a", "1", "t"),
    /replace\(\) returned true/,
  ],
  [
    "a Buffer for a stream",
    { open: async () => Buffer.from("1") },
    (store) => store.open("a"),
    /open\(\) returned .*, not a Readable/,
  ],
  [
    "a thrown string",
    { remove: throwing("no") },
    (store) => store.remove("a"),
    /remove\(\) threw 'no'\. Whether it/,
  ],
  [
    "a stream that fails",
    {
      open: async () =>
        new Readable({
          read() {
            this.destroy(new Error("reset"));
          },
        }),
    },
    async (store) => await text(await store.open("a")),
    /the stream of open\(\) ended with an error \(reset\) while a was read\.$/,
  ],
])(
  "a checkpoint store that answers with %s is reported as the fault of its module",
  async (_, faults, call, told) => {
    const error: unknown = await call(await checkpointsOf(faults)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "STORE_UNREACHABLE",
      message: expect.stringMatching(told),
      hint: expect.stringMatching(/checkpointStoreSuite of @cairn\/checkpoint\/testing\./),
    });
  },
);

test("the reason of a signal, and an error of Cairn in the content of an upload, are not the module's", async () => {
  const reason = new Error("enough");
  const store = await checkpointsOf({ open: throwing(reason) });
  await expect(store.open("a", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const damage = new CairnError("INDEX_CORRUPT", "A table is damaged.");
  const failing = new Readable({ read: () => void failing.destroy(damage) });
  const other = await checkpointsOf({
    upload: async (_name: string, content: Readable) => await text(content),
  });
  await expect(other.upload("a", failing)).rejects.toBe(damage);
});

test("an error of a store's own file is its module's, although it ends the content of the upload", async () => {
  const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error("no space")) });
  const store = await checkpointsOf({
    upload: async (_name: string, content: Readable) => await pipeline(content, full),
  });
  await expect(store.upload("a", Readable.from([Buffer.from("1")]))).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringMatching(/upload\(\) threw an error \(no space\)\. Whether it changed/),
  });
});

test.each([undefined, null])("a stream that is destroyed with %s has no error", async (nothing) => {
  const content = new Readable({ read() {} });
  const store = await checkpointsOf({ open: async () => content });
  const stream = await store.open("a");
  stream.destroy(nothing as unknown as undefined);
  expect(stream.errored).toBeNull();
});
