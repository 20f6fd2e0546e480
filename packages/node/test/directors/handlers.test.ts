import { type DirectorOptions, type Json, type QueueEntry, CairnClient } from "@cairn/client";
import { describe, expect, it, vi } from "vitest";
import { GiveUp } from "../../src/index.ts";
import { type DirectorScene, names, OPEN, sharedNode } from "@cairn/test-support/nodes/director-scene";

const shared = sharedNode();
const PATIENT = { timeout: 60_000, interval: 20 };

async function allFinished(scene: DirectorScene): Promise<void> {
  await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 0 }), PATIENT);
}

function circular(): unknown {
  const map: Record<string, unknown> = {};
  map["self"] = map;
  return map;
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let n = 0; n < depth; n += 1) value = [value];
  return value;
}

function thrower(value: unknown): () => never {
  return () => {
    throw value;
  };
}

/** What programs without types return or throw. */
const FAILING: Readonly<Record<string, (entry: { document: Record<string, unknown> }) => unknown>> = {
  "an error, after it has changed its entry": ({ document }) => {
    Object.assign(document, { state: "done", retry: { attempts: -9, error: "" }, rows: 10n });
    throw new Error("x");
  },
  "a map that contains itself": circular,
  "a BigInt": () => ({ rows: 10n }),
  "a function": () => () => undefined,
  "a Map": () => new Map(),
  "a getter that throws": () =>
    Object.defineProperty({}, "x", { enumerable: true, get: thrower(new Error("x")) }),
  "a method toJSON that throws": () => ({ toJSON: thrower(new Error("x")) }),
  "lists nested too deeply": () => nested(100_000),
  "lists nested more deeply than a node stores": () => nested(3_000),
  "an error": thrower(new Error("x")),
  "an error without a text": thrower(Object.assign(new Error("x"), { message: Symbol("x") })),
  "an object without a prototype, thrown": thrower(Object.create(null)),
  "a text that throws": thrower({ toString: thrower(new Error("x")) }),
  "a proxy that throws": thrower(new Proxy({}, { getPrototypeOf: thrower(new Error("x")), get: thrower(1) })),
  "nothing, thrown": thrower(undefined),
};

describe.concurrent("an attempt fails, and the director goes on, when a handler returns or throws", () => {
  it.each(Object.keys(FAILING))("%s", async (kind) => {
    // On a busy machine, a short lease could end before an attempt is written, which is then repeated.
    await using scene = await shared.scene({ lease: "PT1M" });
    await scene.enqueue(["e1", "e2"]);
    const errors: string[] = [];
    const director = scene.node.client().direct(scene.name, {
      handle: (entry) => (entry.name === "e1" ? (FAILING[kind]?.(entry as never) as Json) : undefined),
      onError: (_error, entry) => {
        errors.push(entry?.name ?? "none");
        Object.assign((entry?.document as object | undefined) ?? {}, { state: "done", rows: 10n });
      },
    });
    await allFinished(scene);
    expect(await scene.document("e1")).toEqual({
      state: "dead",
      retry: { attempts: 3, at: null, error: expect.stringMatching(/./) },
    });
    expect(await scene.document("e2")).toEqual({ state: "done" });
    expect(errors).toEqual(["e1", "e1", "e1"]);
    await director.stop();
  });
});

it("a director goes on when a handler throws an error that cannot be read twice", async () => {
  await using scene = await shared.scene();
  await scene.enqueue(["e1", "e2"]);
  let attempts = 0;
  const director = scene.node.client().direct(scene.name, {
    handle: ({ name }) => {
      attempts += 1;
      if (name === "e2" || attempts > 2) return;
      let reads = 0;
      throw Object.defineProperty(new Error("x"), "message", {
        get: () => (reads++ > 0 ? thrower(1)() : "x"),
      });
    },
  });
  await allFinished(scene);
  await director.stop();
});

it.concurrent("what an onError changes in the entry that it gets is not stored", async () => {
  await using scene = await shared.scene({ lease: "PT1M" });
  await scene.enqueue(["e1"], { state: "new", input: { n: 1 } });
  const director = scene.node.client().direct<{ input: { n: number } }>(scene.name, {
    handle: thrower(new Error("no")),
    onError: (_error, entry) => void (entry !== undefined && (entry.document.input.n += 1)),
  });
  await allFinished(scene);
  expect(await scene.document("e1")).toMatchObject({ state: "dead", input: { n: 1 } });
  await director.stop();
});

it.concurrent.each([
  ["throws", thrower(new Error("x"))],
  ["rejects", async () => await Promise.reject(new Error("x"))],
])("a director goes on when its onError %s", async (_name, onError: () => unknown) => {
  await using scene = await shared.scene();
  await scene.enqueue(["e1"]);
  const director = scene.node.client().direct(scene.name, {
    handle: thrower(new Error("no")),
    onError: onError as NonNullable<DirectorOptions["onError"]>,
  });
  await allFinished(scene);
  expect(await scene.document("e1")).toMatchObject({ state: "dead", retry: { attempts: 3 } });
  await director.stop();
});

it(
  "an entry whose handler returns it unfinished is handed out again after a pause",
  { tags: "rest/slow" },
  async () => {
    await using scene = await shared.scene();
    await scene.enqueue(["e1"]);
    const times: number[] = [];
    const director = scene.node.client().direct(scene.name, {
      handle: ({ document }) => {
        times.push(performance.now());
        return times.length < 3 ? document : { state: "done" };
      },
    });
    await allFinished(scene);
    expect((times[2] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(1_900);
    await director.stop();
  },
);

it.each<[string, Json]>([
  ["a number", 7],
  ["a text", "text"],
  ["a list", [1, 2]],
  ["null", null],
])("%s as an entry is kept in a field when it is finished or given up", async (_kind, document) => {
  await using scene = await shared.scene();
  await scene.enqueue(["done", "dead"], document);
  const director = scene.node.client().direct(scene.name, {
    handle: ({ name }: QueueEntry) => {
      if (name === "dead") throw new GiveUp("never");
    },
  });
  await allFinished(scene);
  expect(await scene.document("done")).toEqual({ document, state: "done" });
  const retry = { attempts: 1, at: null, error: "never" };
  expect(await scene.document("dead")).toEqual({ document, retry, state: "dead" });
  await director.stop();
});

function handle(): void {}

describe("a director is refused", () => {
  it.each<[string, unknown, string]>([
    ["without options", undefined, "A director needs a handler"],
    ["without a handler", { concurrency: 1 }, "A director needs a handler"],
    [
      "with a handler that is no function",
      { handle: 5 },
      '"handle" of a director must be a function, not 5.',
    ],
    [
      "with a concurrency of 0",
      { handle, concurrency: 0 },
      '"concurrency" of a director must be a whole number',
    ],
    ["with a concurrency of NaN", { handle, concurrency: Number.NaN }, "not NaN."],
    [
      "with no shards",
      { handle, shards: 0 },
      '"shards" of a director must be a whole number from 1 on, not 0.',
    ],
    [
      "with a part above 1",
      { handle, drainAt: 2 },
      '"drainAt" of a director must be false, or a number from 0',
    ],
    ["with an empty name", { handle, as: "" }, '"as" of a director must be a text of 1 to 256 bytes'],
    ["with a name that is too long", { handle, as: "ä".repeat(129) }, '"as" of a director'],
    [
      "with a negative time",
      { handle, stopMs: -1 },
      '"stopMs" of a director must be a number of milliseconds',
    ],
    ["with an unknown option", { handle, concurency: 4 }, 'no option "concurency". Known are handle, as, '],
  ])("%s", async (_name, options, message) => {
    await using scene = await shared.scene();
    expect(() => scene.node.client().direct(scene.name, options as DirectorOptions)).toThrow(message);
    expect((await scene.queue()).shards).toEqual([]);
  });

  it("not for an option that is undefined", async () => {
    await using scene = await shared.scene();
    await scene.enqueue(names(2), OPEN);
    const optional = { concurrency: undefined, as: undefined } as unknown as Partial<DirectorOptions>;
    const director = scene.node.client().direct(scene.name, { handle, ...optional });
    await allFinished(scene);
    await director.stop();
  });
});

function sized(bytes: number): Json {
  return { ...OPEN, x: "x".repeat(bytes - '{"state":"new","x":""}'.length) };
}

/** The largest number of bytes of an entry that can be ended. */
const LIMIT = 1_048_576 - 16_384;

it("an entry that is too large to be ended is refused", async () => {
  await using scene = await shared.scene();
  await expect(scene.transact(["enqueue", scene.name, "large", sized(LIMIT + 1)])).rejects.toMatchObject({
    code: "TX_TOO_LARGE",
    message: `The entry large of ${scene.name} has ${LIMIT + 1} bytes; an entry has at most ${LIMIT}, so that its end can be written, which contains it again.`,
  });
});

it("the largest entry that is not refused is ended in every way", { tags: "rest/slow" }, async () => {
  await using scene = await shared.scene();
  const all = ["done", "dead", "x".repeat(1_000)];
  for (const name of all) await scene.transact(["enqueue", scene.name, name, sized(LIMIT)]);
  const client = new CairnClient({ urls: scene.node.url ?? "" });
  const errors: (string | undefined)[] = [];
  const director = client.direct(scene.name, {
    handle: ({ name }) => {
      if (name !== "done") throw new Error("\u0001".repeat(1_000));
    },
    onError: (_error, entry) => errors.push(entry?.name),
  });
  await allFinished(scene);
  expect(await Promise.all(all.map((name) => scene.document(name)))).toMatchObject([
    { state: "done" },
    { state: "dead", retry: { attempts: 3 } },
    { state: "dead", retry: { attempts: 3 } },
  ]);
  // Errors that concern no entry, such as that of a look at the shards, may come on a busy machine.
  const attempts = errors.filter((one) => one !== undefined);
  expect(attempts.toSorted()).toEqual(all.slice(1).flatMap((name) => [name, name, name]));
  await director.stop();
});

it("an update of an entry outside of a hold ends with the queue's reason instead of being repeated", async () => {
  await using scene = await shared.scene({ shards: 1 });
  await scene.enqueue(["a"]);
  const update = scene.node.client().update(scene.name, "0/a", () => ({ state: "done" }));
  await expect(update).rejects.toMatchObject({
    code: "CONFLICT",
    message: /is written only with the epoch of its shard/,
    hint: /^An entry of a queue is changed by what a director's handler returns/,
  });
});
