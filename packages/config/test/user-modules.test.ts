import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duration } from "luxon";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createSystem } from "../src/create-system.ts";
import { printConfig } from "../src/print-config.ts";
import { configOf, problemsOf, settingsOf } from "./support/read.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-modules-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const STORE = `
export function createStore(options, context) {
  const none = async () => undefined;
  return { location: "mine://" + context.nodeId + "/" + options.bucket, exclusive: true, options, context,
    list: none, upload: none, open: none, read: none, create: none, replace: none, remove: none, now: none, close: none };
}
export function createHalf() { return { location: "mine://", list() {} }; }
export async function createLate(options, context) { return createStore(options, context); }
export function createNothing() { throw new Error("no bucket"); }
`;

/** Returns what a store of {@link STORE} has received. */
function received(store: object = {}): object {
  return { options: Reflect.get(store, "options"), context: Reflect.get(store, "context") };
}

/** Returns a configuration whose checkpoint store is the given module. */
function withStore(module: string, options: object = {}): object {
  const store = { "cairn/module": module, ...options };
  return { "cairn/index-store": { "kv-store": { checkpointer: { "approx-frequency": "PT1H", store } } } };
}

async function write(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, text);
  return file;
}

test("a custom store is resolved from the file that names it, and receives its options", async () => {
  await write("etc/my-store.mjs", STORE);
  await write(
    "etc/cairn.json",
    JSON.stringify(
      withStore("./my-store.mjs#createStore", { bucket: "b", nested: { "a/b": [1] }, "api-key": "k" }),
    ),
  );
  const config = await configOf({ cwd: folder, file: "etc/cairn.json" });

  const { checkpointer } = await createSystem(config);

  expect(checkpointer?.store.location).toBe("mine://n1/b");
  expect(received(checkpointer?.store)).toMatchObject({
    options: { bucket: "b", nested: { "a/b": [1] }, "api-key": "k" },
    context: { nodeId: "n1", dir: join(folder, "cairn-data"), dbDir: join(folder, "cairn-data/n1-index") },
  });
  expect(printConfig(config)).toMatch(/api-key = \(secret\)/);
});

test("a custom store receives durations in milliseconds, even from a program", async () => {
  const file = await write("my-store.mjs", STORE);
  const object = withStore(`${file}#createStore`, { every: Duration.fromObject({ minutes: 1 }) });
  const { checkpointer } = await createSystem(await configOf({ cwd: folder, object }));
  expect(received(checkpointer?.store)).toMatchObject({ options: { every: 60_000 } });
});

test("a module named on the command line is resolved from the working directory", async () => {
  await write("my-store.mjs", STORE);
  const config = await configOf({
    cwd: folder,
    json: JSON.stringify(withStore("./my-store.mjs#createLate", { bucket: "c" })),
  });
  expect((await createSystem(config)).checkpointer?.store.location).toBe("mine://n1/c");
});

test.each([
  ["a package", { type: "module", exports: "./index.js" }],
  ["a package for import alone", { type: "module", exports: { import: "./index.js" } }],
])("%s is found in node_modules next to the configuration", async (_what, manifest) => {
  await write("node_modules/@me/store/package.json", JSON.stringify({ name: "@me/store", ...manifest }));
  await write("node_modules/@me/store/index.js", STORE);
  const config = await configOf({ cwd: folder, object: withStore("@me/store#createStore", { bucket: "d" }) });
  expect((await createSystem(config)).checkpointer?.store.location).toBe("mine://n1/d");
});

test("a module with a single function needs no #name", async () => {
  await write(
    "only.mjs",
    STORE.replaceAll("export ", "").replace("function createStore", "export function createStore"),
  );
  const config = await configOf({ cwd: folder, object: withStore("./only.mjs", { bucket: "e" }) });
  expect((await createSystem(config)).checkpointer?.store.location).toBe("mine://n1/e");
});

test.each([
  [
    "./nope.mjs#createStore",
    /^There is no file .*nope\.mjs\.$/,
    "Correct the path. A relative path is resolved from the folder of the file that names it.",
  ],
  [
    "./my-store.mjs#createStroe",
    "./my-store.mjs exports no function createStroe.",
    /^Name one: .*#createStore\b/,
  ],
  ["./my-store.mjs", "./my-store.mjs exports several functions.", /^Name one: .*#createHalf, /],
  [
    "./broken.mjs",
    /^\.\/broken\.mjs cannot be imported: boom\.$/,
    /^Correct that module, or what its error names\. .*node --check FILE/,
  ],
  ["./#create", /\bcairn-modules-\w+ is not a file\.$/, /^Correct the path\. A relative path is resolved/],
  [
    "no-such-package#x",
    "There is neither a top-level key nor a package no-such-package.",
    /^Define the key, or install the package in /,
  ],
])("%s is a problem before anything is started", async (module, message, hint) => {
  await write("my-store.mjs", STORE);
  await write("broken.mjs", 'throw new Error("boom");');
  const problems = await problemsOf({ cwd: folder, object: withStore(module) });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatchObject({ code: "CONFIG_MODULE", place: "object" });
  expect(problems[0]?.message).toMatch(message);
  expect(problems[0]?.hint).toMatch(hint);
});

test("a module that returns something else is refused with an error that names the missing members", async () => {
  await write("my-store.mjs", STORE);
  const config = await configOf({ cwd: folder, object: withStore("./my-store.mjs#createHalf") });
  await expect(createSystem(config)).rejects.toMatchObject({
    code: "CONFIG_MODULE",
    message: expect.stringMatching(
      /#createHalf did not return a checkpoint store: it lacks exclusive \(boolean\), upload\(\), /,
    ),
  });
});

test("an error of a module is the cause of an error that names the module and its place, with a hint", async () => {
  await write("my-store.mjs", STORE);
  const config = await configOf({ cwd: folder, object: withStore("./my-store.mjs#createNothing") });
  await expect(createSystem(config)).rejects.toMatchObject({
    code: "CONFIG_MODULE",
    message:
      "object, cairn/index-store > kv-store > checkpointer > store: ./my-store.mjs#createNothing failed: no bucket.",
    hint: expect.stringMatching(/^Correct that module/),
    cause: new Error("no bucket"),
  });
});

test("each opening of the log opens a custom log anew and passes it a signal; on-log-mismatch still applies", async () => {
  await write(
    "log.mjs",
    `let opened = 0;
     export function createLog(options, { signal }) {
       const none = async () => undefined;
       return { name: options.name + (opened += 1) + signal.aborted, maxPayload: 1, id: none, create: none, exists: none, append: none,
         bounds: none, fetch: none, read: none, close: none };
     }`,
  );
  const log = { "cairn/module": "./log.mjs#createLog", name: "l", "on-log-mismatch": { regressed: "halt" } };
  const system = await createSystem(await configOf({ cwd: folder, object: { "cairn/tx-log": log } }));
  const { signal } = new AbortController();
  expect((await system.openTxLog({ signal })).name).toBe("l1false");
  expect((await system.openTxLog({ signal })).name).toBe("l2false");
  expect(system.onLogMismatch).toEqual({ regressed: "halt", different: "halt" });
});

test("a custom key-value store has db-dir and checkpointer like every other", async () => {
  await write(
    "kv.mjs",
    'export const createKv = ({ size }) => ({ format: "mine/" + size, persistent: false, open() {} });',
  );
  const kv = { "cairn/module": "./kv.mjs#createKv", size: 3, "db-dir": "/i", checkpointer: withStoreless() };
  const system = await createSystem(
    await configOf({ cwd: folder, object: { "cairn/index-store": { "kv-store": kv } } }),
  );
  expect(system.kvProvider.format).toBe("mine/3");
  expect(system.dbDir).toBe("/i");
  expect(system.checkpointer?.checkpointDir).toBe("/i/capture");
});

test("a checkpointer cannot be a custom module", async () => {
  await write("my-store.mjs", STORE);
  const checkpointer = { "cairn/module": "./my-store.mjs#createStore" };
  const problems = await problemsOf({
    cwd: folder,
    object: { "cairn/index-store": { "kv-store": { checkpointer } } },
  });
  expect(problems).toMatchObject([
    { code: "CONFIG_MODULE", message: expect.stringMatching(/^A checkpointer cannot be/) },
  ]);
});

function withStoreless(): object {
  return {
    "approx-frequency": 1000,
    store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/c" },
  };
}

test("a module shared under a top-level key is created once, and its name may be a string or a keyword", async () => {
  await write("my-store.mjs", STORE);
  const edn = `{:cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT1H" :store :my/store :restore-from ["my/store" "my/store"]}}}
                :my/store {:cairn/module "./my-store.mjs#createStore" :bucket "s"}}`;
  const config = await configOf({ cwd: folder, edn });

  const first = (await createSystem(config)).checkpointer;
  const second = (await createSystem(config)).checkpointer;

  expect(first?.restoreFrom).toEqual([first?.store, first?.store]);
  expect(first?.restoreFrom?.[0]).toBe(first?.store);
  expect(second?.store).not.toBe(first?.store);
  expect(settingsOf(config)["my/store > bucket"]).toEqual(["s", "-e"]);
});

test("code in an option of a custom module or in a policy is refused, because it would silently be left out", async () => {
  await write("store.js", STORE);
  const edn = `{:cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT1H" :store
     {:cairn/module "./store.js#createStore" :bucket (env "B") :limits {:idle [(Duration/ofHours 6) (hours 6)]}}}}}
   :cairn/policies {:events {:keep 5 :for (days 7)}}}`;
  const problems = await problemsOf({ edn, cwd: folder });
  expect(problems.map(({ path, message }) => [path.at(-1), message])).toEqual([
    ["bucket", "(env …) is not a duration."],
    ["1", "(hours …) is not a duration."],
    ["for", "(days …) is not a duration."],
  ]);
});

function openNothing(): never {
  throw new Error("not opened here");
}

test.each([
  ["at the top", { "cairn/tx-log": openNothing }],
  ["below it", { "cairn/index-store": { "kv-store": openNothing } }],
])("a function in place of a module %s is that module", async (_, object) => {
  expect(await problemsOf({ cwd: folder, object })).toEqual([]);
});

test("a function in place of something else is refused at its key", async () => {
  expect(await problemsOf({ cwd: folder, object: { "cairn/http-server": openNothing } })).toMatchObject([
    { path: ["cairn/http-server"], message: expect.stringMatching(/, found a function\.$/) },
  ]);
});
