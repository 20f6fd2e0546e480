import { filesystemStore } from "@cairn/checkpoint";
import { memoryProvider } from "@cairn/kv";
import { Duration } from "luxon";
import { expect, test } from "vitest";
import { createSystem } from "../src/create-system.ts";
import { configOf, problemsOf } from "./support/read.ts";

const FS = "cairn.checkpoint/->filesystem-checkpoint-store";

function withFrequency(frequency: unknown): object {
  return {
    "crux/index-store": {
      "kv-store": {
        checkpointer: { "approx-frequency": frequency, store: { "crux/module": FS, path: "/c" } },
      },
    },
  };
}

test("an object means the same as its JSON, and may contain luxon Durations", async () => {
  const object = await createSystem(
    await configOf({ object: withFrequency(Duration.fromObject({ hours: 6 })) }),
  );
  const json = await createSystem(await configOf({ json: JSON.stringify(withFrequency("PT6H")) }));
  expect(object.checkpointer?.approxFrequency).toBe(6 * 3_600_000);
  expect({ ...object.checkpointer, store: json.checkpointer?.store }).toEqual(json.checkpointer);
});

test("a part can be given in place of a module", async () => {
  const store = filesystemStore({ path: "/c" });
  const provider = memoryProvider();
  const checkpointer = { "approx-frequency": 1000, store, "restore-from": [store] };
  const object = {
    "cairn/index-store": { "kv-store": { "cairn/module": provider, "db-dir": "/i", checkpointer } },
  };
  const system = await createSystem(await configOf({ object }));
  expect(system.kvProvider.format).toBe(provider.format);
  expect(system.checkpointer?.store.location).toBe(store.location);
  // The same object remains the same store.
  expect(system.checkpointer?.restoreFrom?.map((from) => from === system.checkpointer?.store)).toEqual([
    true,
  ]);
  expect(system.dbDir).toBe("/i");
});

test("a function can be given as a module, with options", async () => {
  const store = filesystemStore({ path: "/c" });
  const asked: unknown[] = [];
  const createStore = (options: unknown): unknown => {
    asked.push(options);
    return store;
  };
  const checkpointer = { "approx-frequency": 1000, store: { "cairn/module": createStore, bucket: "b" } };
  const system = await createSystem(
    await configOf({ object: { "cairn/index-store": { "kv-store": { checkpointer } } } }),
  );
  expect(system.checkpointer?.store.location).toBe(store.location);
  expect(asked).toEqual([{ bucket: "b" }]);
});

function createNothing(): never {
  throw "no bucket";
}

test("an error of a function is the cause of an error that names the function", async () => {
  const checkpointer = { "approx-frequency": 1000, store: { "cairn/module": createNothing } };
  const object = { "cairn/index-store": { "kv-store": { checkpointer } } };
  await expect(createSystem(await configOf({ object }))).rejects.toMatchObject({
    code: "CONFIG_MODULE",
    message: "object, cairn/index-store > kv-store > checkpointer > store: createNothing failed: no bucket.",
    hint: expect.stringMatching(/^Correct that module/),
    cause: "no bucket",
  });
});

test("an object that is not a store is refused with an error that names the missing members", async () => {
  const checkpointer = { "approx-frequency": 1000, store: memoryProvider() };
  const problems = await problemsOf({ object: { "cairn/index-store": { "kv-store": { checkpointer } } } });
  expect(problems).toMatchObject([
    {
      code: "CONFIG_MODULE",
      message: expect.stringMatching(
        /^This object is not a checkpoint store: it lacks location \(string\), /,
      ),
    },
  ]);
});

test.each<[string, unknown, string]>([
  ["a date", new Date(0), "Expected a whole number from 0 to 65535, found an object."],
  ["a bigint", 3000n, "Expected a whole number from 0 to 65535, found an object."],
  ["not a number", Number.NaN, "Expected a whole number from 0 to 65535, found NaN."],
])("%s in place of a number is refused", async (_what, port, message) => {
  const problems = await problemsOf({ object: { "cairn/http-server": { port } } });
  expect(problems).toMatchObject([{ place: "object", path: ["cairn/http-server", "port"], message }]);
});

test("undefined counts as absent", async () => {
  expect((await configOf({ object: { "cairn/http-server": { port: undefined } } })).http?.port).toBe(3000);
});

test("an object that contains itself is refused", async () => {
  const object: Record<string, unknown> = {};
  object["cairn/node"] = object;
  const [problem] = await problemsOf({ object });
  expect(problem?.message).toBe("This is nested more than 64 deep, or contains itself.");
});

test("a key under both its old and its new name is refused", async () => {
  const problems = await problemsOf({ object: { "crux/node": {}, "cairn/node": {} } });
  const message = 'The keys "crux/node" and "cairn/node" mean the same.';
  expect(problems).toMatchObject([{ path: ["cairn/node"], message, hint: "Keep one of the two." }]);
});
