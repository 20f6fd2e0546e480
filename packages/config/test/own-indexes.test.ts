import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { OwnIndexOptions } from "@cairn/engine";
import { Duration } from "luxon";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ConfigInput } from "../src/config-sources.ts";
import { createSystem } from "../src/create-system.ts";
import { configAsJson, printConfig } from "../src/print-config.ts";
import { configOf, problemsOf, settingsOf } from "./support/read.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-indexes-"));
  await write(
    "near.js",
    "export function create() { throw new Error('called'); }\nexport const limit = 3;\n",
  );
  await write("package.json", '{"type": "module"}');
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function write(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, text);
  return file;
}

async function indexesOf(input: Partial<ConfigInput>): Promise<readonly OwnIndexOptions[] | undefined> {
  return (await createSystem(await configOf({ cwd: folder, ...input }))).ownIndexes;
}

const near = (parameters: object): object => ({
  "cairn/indexes": { near: { "cairn/module": "./near.js#create", ...parameters } },
});

const manifest = (exports: unknown): string => JSON.stringify({ name: "x", type: "module", exports });

const ORDERS = { bucket: "orders", columns: { owner: "owner", total: "total.amount", title: "title" } };
const sqlite = (tables: object, parameters: object = {}): object => ({
  "cairn/indexes": { orders: { "cairn/module": "cairn.sqlite/->index", tables, ...parameters } },
});

test("an index of a user's module is described, but not created: its thread imports the file and calls the export", async () => {
  const url = pathToFileURL(join(folder, "near.js")).href;
  const given = { version: 2, ready: "waits", "checkpoint?": false, buckets: ["items"], size: { x: [1] } };
  expect(await indexesOf({ object: near(given) })).toEqual([
    {
      name: "near",
      version: 2,
      ready: "waits",
      checkpoint: false,
      buckets: ["items"],
      module: { url, export: "create" },
      options: { size: { x: [1] } },
    },
  ]);
  expect(await import(url)).toHaveProperty("create");
});

test("by default, an index has version 1, all buckets and a place in checkpoints, and no node waits for it", async () => {
  expect(await indexesOf({ object: near({}) })).toEqual([
    {
      name: "near",
      version: 1,
      ready: "later",
      checkpoint: true,
      module: expect.anything(),
      options: {},
    },
  ]);
});

test("a node has no indexes of its own unless the configuration names some", async () => {
  expect(await createSystem(await configOf({}))).not.toHaveProperty("ownIndexes");
  expect(await indexesOf({ object: near({}), edn: "{:cairn/indexes {:near nil}}" })).toBeUndefined();
  expect(await indexesOf({ object: near({}), edn: "{:cairn/indexes nil}" })).toBeUndefined();
});

test("an index in SQLite gets the documents of its tables' buckets, and the driver of this Node", async () => {
  const tables = {
    orders: { ...ORDERS, indexes: ["owner", ["owner", "total"]], text: "title" },
    also: { bucket: "orders" },
    items: { bucket: "items", columns: {} },
  };
  const empty = { columns: {}, indexes: [], text: [] };
  expect(await indexesOf({ object: sqlite(tables) })).toEqual([
    {
      name: "orders",
      version: 1,
      ready: "later",
      checkpoint: true,
      buckets: ["orders", "items"],
      module: {
        url: expect.stringMatching(/^file:.*\/engine\/dist\/bundle\/sqlite-index-worker\.js$/),
        export: "createSqliteIndex",
      },
      options: {
        driver: "node:sqlite",
        tables: {
          orders: { ...ORDERS, indexes: [["owner"], ["owner", "total"]], text: ["title"] },
          also: { bucket: "orders", ...empty },
          items: { bucket: "items", ...empty },
        },
      },
    },
  ]);
});

test("the examples of the documentation mean the same in both languages, and as they are printed", async () => {
  const doc = readFileSync(join(import.meta.dirname, "../../../docs/own-indexes.md"), "utf8");
  const example = (language: string): string =>
    new RegExp(`^\`\`\`${language}\n([^\`]*cairn/indexes[^\`]*)^\`\`\`$`, "m").exec(doc)?.[1] ?? "";
  const json = await indexesOf({ json: example("json") });
  expect(json?.map(({ name }) => name)).toEqual(["orders", "near"]);
  expect(json?.[1]?.options).toEqual({ dimensions: 384 });
  expect(await indexesOf({ edn: example("edn") })).toEqual(json);
  const printed = configAsJson(await configOf({ cwd: folder, edn: example("edn") })).values;
  expect(await indexesOf({ json: JSON.stringify(printed) })).toEqual(json);
});

test("stronger sources and variables replace single parameters, and each value has its origin", async () => {
  const object = sqlite({ orders: ORDERS }, { version: "${VERSION}" });
  const edn = "{:crux/indexes {:orders {:ready :waits :tables {:orders {:indexes [[:owner]]}}}}}";
  const config = await configOf({ object, edn, env: { VERSION: "7" } });
  expect(config.indexes[0]?.[1].common).toMatchObject({ version: 7, ready: "waits" });
  expect(settingsOf(config)).toMatchObject({
    "cairn/indexes > orders > cairn/module": ["cairn.sqlite/->index", "object"],
    "cairn/indexes > orders > ready": ["waits", "-e"],
    "cairn/indexes > orders > checkpoint?": [true, "default"],
    "cairn/indexes > orders > tables > orders > bucket": ["orders", "object"],
    "cairn/indexes > orders > tables > orders > columns > total": ["total.amount", "object"],
    "cairn/indexes > orders > tables > orders > indexes": [[["owner"]], "-e"],
  });
  expect(printConfig(config)).toMatch(/^ *version = 7 +# object, with VERSION$/m);
});

test("an index may be a module under a top-level key", async () => {
  const shared = {
    "cairn/indexes": { near: "my/index" },
    "my/index": { "cairn/module": "./near.js#create" },
  };
  expect(await indexesOf({ object: shared })).toMatchObject([{ name: "near", module: { export: "create" } }]);
  const problems = await problemsOf({ object: { "my/index": { "cairn/module": "cairn.sqlite/->index" } } });
  expect(problems).toMatchObject([
    { hint: 'Write "my/index" at cairn/indexes > NAME, or remove the key.', path: ["my/index"] },
  ]);
});

test("without #, the thread calls the default export, or the only function", async () => {
  await write("two.js", "export default function () {}\nexport function other() {}\n");
  expect(await indexesOf({ object: near({ "cairn/module": "./two.js" }) })).toMatchObject([
    { module: { export: "default" } },
  ]);
  expect(await indexesOf({ object: near({ "cairn/module": "./near.js" }) })).toMatchObject([
    { module: { export: "create" } },
  ]);
});

test("a package is found next to the configuration; one that can only be imported has no path, and is refused", async () => {
  await write("node_modules/@me/near/package.json", manifest("./index.js"));
  const file = await write("node_modules/@me/near/index.js", "export function create() {}");
  await write("node_modules/imported/package.json", manifest({ import: "./index.js" }));
  await write("node_modules/imported/index.js", "export function create() {}");

  expect(await indexesOf({ object: near({ "cairn/module": "@me/near#create" }) })).toMatchObject([
    { module: { url: pathToFileURL(file).href, export: "create" } },
  ]);
  const object = near({ "cairn/module": "imported#create" });
  expect(await problemsOf({ cwd: folder, object })).toMatchObject([
    {
      code: "CONFIG_MODULE",
      path: ["cairn/indexes", "near", "cairn/module"],
      message: expect.stringContaining("only exports with the condition import"),
      hint: expect.stringMatching(/^Name its file, such as \.\/node_modules\/PACKAGE\/index\.js#create, or /),
    },
  ]);
  const named = near({ "cairn/module": "./node_modules/imported/index.js#create" });
  expect(await problemsOf({ cwd: folder, object: named })).toEqual([]);
});

test.each<[string, unknown]>([
  ["function create", () => ({})],
  ["object", { position() {}, apply() {}, close() {} }],
])("a program's %s cannot be an index, because it is needed in other threads", async (_what, value) => {
  const refused = {
    code: "CONFIG_MODULE",
    message: expect.stringMatching(
      /^An index runs in a thread and in processes of its own, so it cannot be /,
    ),
    hint: 'Export the function from a file, and name that: "cairn/module": "./near.js#create".',
  };
  for (const module of [value, { "cairn/module": value, size: 3 }])
    expect(await problemsOf({ object: { "cairn/indexes": { near: module } } })).toMatchObject([refused]);
});

test("options are what JSON has, and durations are milliseconds", async () => {
  const every = Duration.fromObject({ minutes: 1 });
  expect(await indexesOf({ object: near({ every, none: null }) })).toMatchObject([
    { options: { every: 60_000, none: null } },
  ]);
  const wrong = { embed: () => [], list: [new Date(0)], deep: { share: Number.NaN } };
  const problems = await problemsOf({ cwd: folder, object: near(wrong) });
  expect(problems.map(({ code, path, message }) => [code, path.slice(2).join(" > "), message])).toEqual([
    ["CONFIG_INVALID", "embed", "Expected a value that JSON has, found a function."],
    ["CONFIG_INVALID", "list > 0", "Expected a value that JSON has, found an object."],
    ["CONFIG_INVALID", "deep > share", "Expected a value that JSON has, found NaN."],
  ]);
});

test("options whose names suggest secrets are not printed", async () => {
  const config = await configOf({ cwd: folder, object: near({ "api-key": "k", size: 3 }) });
  expect(printConfig(config)).toMatch(/^ *api-key = \(secret\)/m);
  expect(printConfig(config)).toMatch(/^ *size = 3/m);
});

const NAMED = ["cairn/indexes", "orders"];

test.each<[what: string, indexes: object, path: readonly string[], message: RegExp, hint: RegExp]>([
  ["no map", { "cairn/indexes": ["x"] }, ["cairn/indexes"], /^Expected a map by name, found a list/, /^$/],
  [
    "a name that is no folder",
    { "cairn/indexes": { "Orders/x": "cairn.sqlite/->index" } },
    ["cairn/indexes", "Orders/x"],
    /^Expected a name of lower-case letters, .*, found "Orders\/x"\.$/,
    /^$/,
  ],
  [
    "a map without a module",
    { "cairn/indexes": { orders: { version: 1 } } },
    [...NAMED, "cairn/module"],
    /^This map does not name its module\.$/,
    /cairn\.sqlite\/->index/,
  ],
  [
    "a mistyped module",
    { "cairn/indexes": { orders: "cairn.sqllite/->index" } },
    NAMED,
    /^Unknown module "cairn\.sqllite\/->index"\.$/,
    /^Did you mean cairn\.sqlite\/->index\?$/,
  ],
  [
    "a module of another kind",
    { "cairn/indexes": { orders: "cairn.memory/->kv-store" } },
    NAMED,
    /^cairn\.memory\/->kv-store is a key-value store; an index is required here\.$/,
    /cairn\.sqlite\/->index/,
  ],
  [
    "a mistyped key",
    { "cairn/indxes": {} },
    ["cairn/indxes"],
    /^Unknown top-level key/,
    /^Did you mean cairn\/indexes\?$/,
  ],
  ["no tables", sqlite({}), [...NAMED, "tables"], /at least one entry/, /^$/],
  [
    "a mistyped parameter",
    sqlite({ orders: ORDERS }, { verson: 2 }),
    [...NAMED, "verson"],
    /^cairn\.sqlite\/->index has no parameter verson\.$/,
    /^Did you mean version\?$/,
  ],
  [
    "buckets beside tables",
    sqlite({ orders: ORDERS }, { buckets: ["orders"] }),
    [...NAMED, "buckets"],
    /has no parameter buckets/,
    /tables/,
  ],
  [
    "version 0",
    sqlite({ orders: ORDERS }, { version: 0 }),
    [...NAMED, "version"],
    /of 1 or more, found 0/,
    /^$/,
  ],
  [
    "a mistyped word",
    sqlite({ orders: ORDERS }, { ready: "wait" }),
    [...NAMED, "ready"],
    /^Expected one of "later", "waits"/,
    /^Did you mean waits\?$/,
  ],
  [
    "a mistyped parameter of a table",
    sqlite({ orders: { ...ORDERS, colums: {} } }),
    [...NAMED, "tables", "orders", "colums"],
    /^The table orders has no parameter colums\.$/,
    /^Did you mean columns\?$/,
  ],
  [
    "a table without a bucket",
    sqlite({ orders: {} }),
    [...NAMED, "tables", "orders", "bucket"],
    /^The table orders requires the parameter bucket/,
    /./,
  ],
  [
    "a name that SQL does not have",
    sqlite({ "order-items": ORDERS }),
    [...NAMED, "tables", "order-items"],
    /^Expected a name of letters, digits and underscores, .*, found "order-items"\.$/,
    /^$/,
  ],
  [
    "a reserved table",
    sqlite({ Sqlite_master: ORDERS }),
    [...NAMED, "tables"],
    /^tables > Sqlite_master: the name sqlite_master is reserved\.$/,
    /another name/,
  ],
  [
    "two tables that SQLite does not distinguish",
    sqlite({ orders: ORDERS, Orders: ORDERS }),
    [...NAMED, "tables"],
    /^tables > orders: another one has the same name\.$/,
    /another name/,
  ],
  [
    "two columns that SQLite does not distinguish",
    sqlite({ orders: { bucket: "orders", columns: { a: "a", A: "b" } } }),
    [...NAMED, "tables"],
    /^tables > orders > columns > a: another one has the same name\.$/,
    /another name/,
  ],
  [
    "a column that every table has",
    sqlite({ orders: { bucket: "orders", columns: { Tx_time: "at" } } }),
    [...NAMED, "tables"],
    /^tables > orders > columns > Tx_time: the name tx_time is reserved\.$/,
    /another name/,
  ],
  [
    "a path with an empty part",
    sqlite({ orders: { bucket: "orders", columns: { a: "x..y" } } }),
    [...NAMED, "tables"],
    /the path x\.\.y contains an empty name/,
    /whole document/,
  ],
  [
    "an index of a mistyped column",
    sqlite({ orders: { ...ORDERS, indexes: [["owner"], ["onwer"]] } }),
    [...NAMED, "tables"],
    /^tables > orders > indexes > 1 > 0: there is no column onwer\.$/,
    /^Did you mean owner\?$/,
  ],
  [
    "text in a column that does not exist",
    sqlite({ orders: { ...ORDERS, text: ["title", "body"] } }),
    [...NAMED, "tables"],
    /^tables > orders > text > 1: there is no column body\.$/,
    /^Add body to the columns of the table\.$/,
  ],
  [
    "a column twice",
    sqlite({ orders: { ...ORDERS, text: ["title", "title"] } }),
    [...NAMED, "tables"],
    /^tables > orders > text: a column is listed twice\.$/,
    /^Remove one/,
  ],
])("%s is refused", async (_what, object, path, message, hint) => {
  const problems = await problemsOf({ cwd: folder, object });
  expect(problems).toMatchObject([{ path, code: expect.stringMatching(/^CONFIG_(?:INVALID|MODULE)$/) }]);
  expect(problems[0]?.message).toMatch(message);
  expect(problems[0]?.hint ?? "").toMatch(hint);
});

test("a missing or mistyped module of an index is a problem before anything is started", async () => {
  const problems = await problemsOf({ cwd: folder, object: near({ "cairn/module": "./near.js#creat" }) });
  expect(problems).toMatchObject([{ code: "CONFIG_MODULE", hint: "Name one: ./near.js#create." }]);
  const missing = await problemsOf({ cwd: folder, object: near({ "cairn/module": "./nope.js#create" }) });
  expect(missing).toMatchObject([
    { code: "CONFIG_MODULE", message: expect.stringMatching(/^There is no file /) },
  ]);
});

test("a driver is resolved from the folder of the configuration, but not imported", async () => {
  await write("etc/cairn.json", JSON.stringify(sqlite({ orders: ORDERS }, { driver: "./driver.mjs" })));
  const file = await write("etc/driver.mjs", "throw new Error('imported');");
  const input = { file: "etc/cairn.json", isForNode: true };
  expect((await indexesOf(input))?.[0]?.options["driver"]).toBe(pathToFileURL(file).href);

  await rm(file);
  const missing = { code: "CONFIG_INVALID", path: NAMED, hint: expect.stringContaining(join(folder, "etc")) };
  expect(await problemsOf({ cwd: folder, ...input })).toMatchObject([
    {
      ...missing,
      message: "cairn.sqlite/->index cannot be used. The driver ./driver.mjs cannot be resolved.",
    },
  ]);
  expect(
    await problemsOf({ cwd: folder, ...input, edn: '{:cairn/indexes {:orders {:driver "@none/here"}}}' }),
  ).toMatchObject([{ ...missing, message: expect.stringContaining("The driver @none/here") }]);
});

test("a node needs a Node with its driver, but commands do not", async () => {
  const object = sqlite({ orders: ORDERS });
  expect(await problemsOf({ object })).toEqual([]);
  const refused = {
    code: "CONFIG_INVALID",
    path: NAMED,
    message: `cairn.sqlite/->index cannot be used. Node ${process.versions.node} has no SQLite that Cairn can use.`,
    hint: expect.stringMatching(/^Use Node 22\.16 or later, or install @photostructure\/sqlite@1\.2 and set/),
  };
  expect(await problemsOf({ object, isForNode: true })).toMatchObject(
    isBuiltin("node:sqlite") ? [] : [refused],
  );
});
