import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { CairnError, type Clock } from "@cairn/kv";
import { expect, test, vi } from "vitest";
import { filesystemStore } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { faultyStore, manualClock, unreachable, memoryStore } from "../../testing/index.ts";
import { digestsOf, temporaryDirectory } from "@cairn/test-support/stores/places";
import { testSource } from "@cairn/test-support/stores/test-source";
import { filesAt } from "@cairn/test-support/stores/index-files";
import { namesIn, restore, restoredIn, take, takeAt } from "@cairn/test-support/stores/rounds";

/** A clock whose pauses between retries take no time. A longer wait lasts until it is aborted. */
const still = manualClock();
const hurried: Clock = {
  ...still,
  wait: async (ms, signal) => (ms < 1_000 ? signal?.aborted !== true : still.wait(ms, signal)),
};

/** Returns a store with checkpoints of transactions 1, 2 and 10. */
async function threeCheckpoints(dir: string): Promise<{ store: CheckpointStore; names: string[] }> {
  const store = memoryStore({ name: "main" });
  const source = testSource();
  const names: string[] = [];
  for (const txId of [1, 2, 10]) names.push(await takeAt(txId, store, source, dir));
  return { store, names };
}

async function overwrite(store: CheckpointStore, name: string, content: Buffer): Promise<void> {
  await store.remove(name);
  await store.upload(name, Readable.from([content], { objectMode: false }));
}

test("a restore uses the newest checkpoint by transaction, and leaves the store unchanged", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const before = await namesIn(store);
  const { restored, skipped } = await restore([store], dir);
  expect(restored).toMatchObject({ name: names[2], store: "memory://main", manifest: { txId: 10 } });
  expect(skipped).toEqual([]);
  expect(await restoredIn(dir)).toEqual(digestsOf(filesAt(10)));
  expect(await namesIn(store)).toEqual(before);
  expect(await readdir(join(dir, "staging"))).toEqual([]);
});

test("a restore from an empty store restores nothing, without an error", async () => {
  const dir = await temporaryDirectory();
  expect(await restore([memoryStore()], dir)).toEqual({ restored: undefined, skipped: [] });
  await expect(readdir(join(dir, "live"))).rejects.toMatchObject({ code: "ENOENT" });
});

const damages: [string, string, (store: CheckpointStore, name: string) => Promise<void>][] = [
  [
    "a changed byte",
    "CHECKPOINT_CORRUPT",
    async (store, name) => {
      const content = await buffer(await store.open(`${name}.tar`));
      content.writeUInt8(content.readUInt8(5000) ^ 1, 5000);
      await overwrite(store, `${name}.tar`, content);
    },
  ],
  [
    "a shortened archive",
    "CHECKPOINT_INCOMPLETE",
    async (store, name) => {
      const content = await buffer(await store.open(`${name}.tar`));
      await overwrite(store, `${name}.tar`, content.subarray(0, 60_000));
    },
  ],
  ["a missing archive", "CHECKPOINT_INCOMPLETE", (store, name) => store.remove(`${name}.tar`)],
  [
    "half a manifest",
    "CHECKPOINT_CORRUPT",
    async (store, name) => {
      const { text } = (await store.read(`${name}.json`)) ?? { text: "" };
      await overwrite(store, `${name}.json`, Buffer.from(text.slice(0, 300)));
    },
  ],
  [
    "another checkpoint's manifest",
    "CHECKPOINT_CORRUPT",
    async (store, name) => {
      const other =
        (await namesIn(store)).find((file) => file.endsWith(".json") && file !== `${name}.json`) ?? "";
      const { text } = (await store.read(other)) ?? { text: "" };
      await overwrite(store, `${name}.json`, Buffer.from(text));
    },
  ],
  [
    "an archive of zeros",
    "CHECKPOINT_INCOMPLETE",
    async (store, name) => {
      const [{ bytes = 0 } = {}] = await store.list(`${name}.tar`);
      await overwrite(store, `${name}.tar`, Buffer.alloc(bytes));
    },
  ],
  [
    "another checkpoint's archive of the same size",
    "CHECKPOINT_CORRUPT",
    async (store, name) => {
      const archives = (await store.list("checkpoint-")).filter((file) => file.name.endsWith(".tar"));
      const other = archives.find((file) => file.name !== `${name}.tar`);
      expect(archives.map(({ bytes }) => bytes)).toEqual(archives.map(() => other?.bytes));
      await overwrite(store, `${name}.tar`, await buffer(await store.open(other?.name ?? "")));
    },
  ],
];
test.each(damages)(
  "with %s in the newest checkpoint, a restore reports it and uses the next older one",
  async (_what, code, damage) => {
    const dir = await temporaryDirectory();
    const { store, names } = await threeCheckpoints(dir);
    await damage(store, names[2] ?? "");
    const { restored, skipped } = await restore([store], dir);
    expect(restored?.name).toBe(names[1]);
    expect(skipped).toMatchObject([{ name: names[2], store: "memory://main", error: { code } }]);
    expect(await restoredIn(dir)).toEqual(digestsOf(filesAt(2)));
    expect(await readdir(join(dir, "staging"))).toEqual([]);
  },
);

test("if all checkpoints are bad, a restore restores nothing and reports each", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  for (const name of names) await store.remove(`${name}.tar`);
  const { restored, skipped } = await restore([store], dir);
  expect(restored).toBeUndefined();
  expect(skipped.map(({ name }) => name)).toEqual(names.toReversed());
});

test("a restore skips checkpoints that the caller does not accept, and reports the reason", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const regressed = new CairnError("LOG_REGRESSED", "The log ends at 5.");
  const { restored, skipped } = await restore([store], dir, {
    accept: async ({ txId }) => (txId > 5 ? regressed : true),
  });
  expect(restored?.name).toBe(names[1]);
  expect(skipped).toEqual([{ name: names[2], store: "memory://main", error: regressed }]);
});

test("an error from the caller, such as an unreachable log, ends the restore", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  const failing = restore([store], dir, {
    accept: async () => {
      throw new CairnError("LOG_UNREACHABLE", "The log does not answer.");
    },
  });
  await expect(failing).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
});

test("a restore skips a checkpoint that fails verification, but not one whose verification cannot run", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const { restored, skipped } = await restore([store], dir, {
    verify: async (unpacked, { txId }) => {
      expect(await readdir(unpacked)).toContain("CURRENT");
      if (txId === 10) throw new CairnError("INDEX_CORRUPT", "It does not open.");
    },
  });
  expect(restored?.name).toBe(names[1]);
  expect(skipped).toMatchObject([{ error: { code: "INDEX_CORRUPT" } }]);
  const broken = restore([store], join(dir, "again"), {
    verify: async () => {
      throw new TypeError("a bug");
    },
  });
  await expect(broken).rejects.toThrow("a bug");
  expect(await readdir(join(dir, "again"))).toEqual(["staging"]);
});

test("a restore skips checkpoints of other logs if a log is requested", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  await takeAt(99, store, { ...testSource(), logId: "log-b" }, dir);
  const { restored, skipped } = await restore([store], dir, { logId: "log-a" });
  expect(restored?.name).toBe(names[2]);
  expect(skipped).toMatchObject([{ error: { code: "LOG_DIFFERENT" } }]);
});

test("an unreachable store is never mistaken for an empty one", async () => {
  const dir = await temporaryDirectory();
  const store = faultyStore(memoryStore(), { fail: unreachable });
  await expect(restore([store], dir)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  await expect(restore([memoryStore(), store], dir)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
});

test("a restore uses another store if one is unreachable, and reports the unreachable one", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const away = faultyStore(memoryStore({ name: "away" }), { fail: unreachable });
  const { restored, skipped } = await restore([away, store], dir);
  expect(restored?.name).toBe(names[2]);
  expect(skipped).toMatchObject([{ store: "memory://away", error: { code: "STORE_UNREACHABLE" } }]);
});

test("a restore prefers the newest checkpoint across all stores, and among equal ones the first store's", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  const mirror = memoryStore({ name: "mirror" });
  for (const file of await store.list("")) {
    await mirror.upload(file.name, await store.open(file.name));
  }
  expect((await restore([mirror, store], join(dir, "1"))).restored?.store).toBe("memory://mirror");
  const newer = await takeAt(11, store, testSource(), dir);
  expect((await restore([mirror, store], join(dir, "2"))).restored).toMatchObject({
    name: newer,
    store: "memory://main",
  });
});

test("a restore retries the same checkpoint after a stream was interrupted", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  let breaks = 2;
  const flaky = faultyStore(store, { cutAfter: () => (breaks-- > 0 ? 70_000 : undefined) });
  const { restored, skipped } = await restore([flaky], dir, { clock: hurried });
  expect(restored?.name).toBe(names[2]);
  expect(skipped).toEqual([]);
  expect(await restoredIn(dir)).toEqual(digestsOf(filesAt(10)));
});

test("a restore fails if its stream is interrupted every time, and leaves nothing behind", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  let opened = 0;
  const flaky = faultyStore(store, {
    before: async ({ method }) => void (method === "open" ? (opened += 1) : 0),
    cutAfter: () => 70_000,
  });
  const failing = restore([flaky], dir, { clock: hurried, retries: 2 });
  await expect(failing).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect(opened).toBe(3);
  expect(await readdir(join(dir, "staging"))).toEqual([]);
  await expect(readdir(join(dir, "live"))).rejects.toMatchObject({ code: "ENOENT" });
  expect((await namesIn(store)).filter((name) => name.startsWith("reservations/"))).toEqual([]);
});

/** A checkpoint that is large enough to be read by a thread. */
async function largeCheckpoint(
  store: CheckpointStore,
  dir: string,
): Promise<{ files: object; name: string }> {
  const source = testSource();
  source.txId = 10;
  source.files = { CURRENT: Buffer.from("MANIFEST-1\n"), "000001.ldb": Buffer.alloc(17 * 1024 * 1024, "x") };
  const outcome = await take(store, source, dir);
  if (outcome.outcome !== "taken") throw new Error("nothing was saved");
  return { files: source.files, name: outcome.checkpoint.name };
}

/**
 * Returns the store in `folder`, whose archives cannot be read the first `times` times: a folder can be opened, but
 * reading it fails with an error that is not in any list.
 */
function unreadable(folder: string, times: number): CheckpointStore {
  const store = filesystemStore({ path: folder });
  let left = times;
  return {
    ...store,
    open: (name, options) => {
      left -= 1;
      if (left < 0) return store.open(name, options);
      return filesystemStore({ path: join(folder, "..", "folders") }).open(name, options);
    },
  };
}

test(
  "a restore retries a large checkpoint while its archive in a folder cannot be read",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    const folder = join(dir, "store");
    const { files, name } = await largeCheckpoint(filesystemStore({ path: folder }), dir);
    await mkdir(join(dir, "folders", `${name}.tar`), { recursive: true });
    const { restored, skipped } = await restore([unreadable(folder, 2)], dir, { clock: hurried });
    expect([restored?.name, skipped]).toEqual([name, []]);
    expect(await restoredIn(dir)).toEqual(digestsOf(files as Record<string, Buffer>));
  },
);

test(
  "a restore uses another store if a large archive in a folder can never be read",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    const folder = join(dir, "store");
    const { name } = await largeCheckpoint(filesystemStore({ path: folder }), dir);
    await mkdir(join(dir, "folders", `${name}.tar`), { recursive: true });
    const other = memoryStore({ name: "other" });
    await takeAt(1, other, testSource(), dir);
    const first = unreadable(folder, Infinity);
    const { restored, skipped } = await restore([first, other], dir, { clock: hurried });
    expect(restored?.store).toBe("memory://other");
    expect(skipped).toMatchObject([{ name, store: first.location, error: { code: "STORE_UNREACHABLE" } }]);
  },
);

test("bytes that change or are lost in transit lead to an older checkpoint, never to wrong files", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const newest = `${names[2]}.tar`;
  const flipped = faultyStore(store, { flipAt: (name) => (name === newest ? 1234 : undefined) });
  expect((await restore([flipped], join(dir, "1"))).restored?.name).toBe(names[1]);
  const ended = faultyStore(store, { endAfter: (name) => (name === newest ? 100_000 : undefined) });
  expect((await restore([ended], join(dir, "2"))).restored?.name).toBe(names[1]);
  expect(await restoredIn(join(dir, "2"))).toEqual(digestsOf(filesAt(2)));
});

test("a restore works without a reservation if the store cannot be written to", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const denied = new CairnError("STORE_DENIED", "This is a mirror.");
  const readOnly = faultyStore(store, {
    fail: ({ method }) =>
      ["create", "replace", "remove", "now", "upload"].includes(method) ? denied : undefined,
  });
  expect((await restore([readOnly], dir)).restored?.name).toBe(names[2]);
});

test("a store whose archives cannot be read is an error, not an empty store", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  const denied = new CairnError("STORE_DENIED", "Archives may not be read.");
  const blind = faultyStore(store, { fail: ({ method }) => (method === "open" ? denied : undefined) });
  await expect(restore([blind], dir)).rejects.toMatchObject({ code: "STORE_DENIED" });
});

test("a restore skips a checkpoint that is removed between listing and restoring", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const swept = faultyStore(store, {
    before: async ({ method, name }) => {
      if (method === "create" && name.startsWith("reservations/")) await store.remove(`${names[2]}.json`);
    },
  });
  const { restored, skipped } = await restore([swept], dir);
  expect(restored?.name).toBe(names[1]);
  expect(skipped).toMatchObject([{ error: { code: "CHECKPOINT_NOT_FOUND" } }]);
});

test("a reservation names the checkpoint while it is being restored", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  let reserved: unknown;
  await restore([store], dir, {
    verify: async () => {
      const [file] = await store.list("reservations/");
      reserved = JSON.parse((await store.read(file?.name ?? ""))?.text ?? "null");
    },
  });
  expect(reserved).toMatchObject({ checkpoint: names[2], node: "node-2" });
});

test("a restore accepts an empty directory, but not one with files", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  await mkdir(join(dir, "live"));
  await writeFile(join(dir, "live", "precious"), "x");
  await expect(restore([store], dir)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await readdir(join(dir, "live"))).toEqual(["precious"]);
  await mkdir(join(dir, "other", "live"), { recursive: true });
  expect((await restore([store], join(dir, "other"))).restored).toBeDefined();
});

test("a restore uses the checkpoint requested by name", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const [oldest = ""] = names;
  expect((await restore([store], dir, { name: oldest })).restored?.name).toBe(oldest);
});

test("a restore reports progress in bytes of the archive, up to its size", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const seen: number[] = [];
  await restore([store], dir, {
    onProgress: ({ name, done, total }) => {
      expect(name).toBe(names[2]);
      seen.push(done / total);
    },
  });
  expect(seen.at(-1)).toBe(1);
});

test("an aborted restore ends with the signal's reason, and leaves nothing behind", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  const stop = new AbortController();
  const aborted = restore([store], dir, {
    signal: stop.signal,
    onProgress: () => stop.abort(new Error("the node stops")),
  });
  await expect(aborted).rejects.toThrow("the node stops");
  expect(await readdir(join(dir, "staging"))).toEqual([]);
  expect((await namesIn(store)).filter((name) => name.startsWith("reservations/"))).toEqual([]);
});

test.each(["list", "read", "create", "open"] as const)(
  "a restore that is aborted while a store does not respond to %s ends immediately, and a late response leaves nothing behind",
  async (silent) => {
    const dir = await temporaryDirectory();
    const { store } = await threeCheckpoints(dir);
    const stop = new AbortController();
    let answer: (() => void) | undefined;
    const late = faultyStore(store, {
      before: async ({ method }) => {
        if (method !== silent || answer !== undefined) return;
        setImmediate(() => stop.abort(new Error("the node stops")));
        await new Promise<void>((resolve) => (answer = resolve));
      },
    });
    await expect(restore([late], dir, { signal: stop.signal })).rejects.toThrow("the node stops");
    answer?.();
    await vi.waitFor(async () =>
      expect((await namesIn(store)).filter((name) => name.startsWith("reservations/"))).toEqual([]),
    );
    expect(await readdir(dir)).not.toContain("live");
  },
);

test("an archive that a store opens after the restore has been aborted is closed", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  const stop = new AbortController();
  const opened: Readable[] = [];
  const late: CheckpointStore = {
    ...store,
    async open(name) {
      stop.abort(new Error("the node stops"));
      opened.push(await store.open(name));
      return opened[0] as Readable;
    },
  };
  await expect(restore([late], dir, { signal: stop.signal })).rejects.toThrow("the node stops");
  await vi.waitFor(() => expect(opened.map(({ destroyed }) => destroyed)).toEqual([true]));
});

test("a reservation that a store makes after the restore has been aborted is released", async () => {
  const dir = await temporaryDirectory();
  const { store } = await threeCheckpoints(dir);
  const stop = new AbortController();
  const removed: string[] = [];
  const late = faultyStore(store, {
    before: async ({ method, name }) => {
      if (method === "remove") removed.push(name);
      if (method === "create") stop.abort(new Error("the node stops"));
    },
  });
  await expect(restore([late], dir, { signal: stop.signal })).rejects.toThrow("the node stops");
  await vi.waitFor(() => expect(removed).toEqual([expect.stringMatching(/^reservations\//)]));
});

test("a restore ends although its store never responds to the removal of the reservation", async () => {
  const dir = await temporaryDirectory();
  const { store, names } = await threeCheckpoints(dir);
  const silent = { ...store, remove: async () => await new Promise<void>(() => undefined) };
  expect((await restore([silent], dir)).restored?.name).toBe(names[2]);
});

test("a store still works after it is copied to another location or kind of store", async () => {
  const dir = await temporaryDirectory();
  const folder = filesystemStore({ path: join(dir, "store") });
  const name = await takeAt(4, folder, testSource(), dir);
  const copy = memoryStore();
  for (const file of await folder.list("")) await copy.upload(file.name, await folder.open(file.name));
  expect((await restore([copy], dir)).restored?.name).toBe(name);
  expect(await restoredIn(dir)).toEqual(digestsOf(filesAt(4)));
});

test.runIf(process.platform === "linux")(
  "a target on a file system that accepts no folders is refused with the reason, and the reservation is released",
  async () => {
    const dir = await temporaryDirectory();
    const store = memoryStore();
    await takeAt(5, store, testSource(), dir);
    const change = { stagingDir: "/proc/.cairn-restore", targetDir: "/proc/cairn" };
    await expect(restore([store], dir, change)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("/proc/.cairn-restore"),
    });
    expect((await namesIn(store)).filter((name) => name.startsWith("reservations/"))).toEqual([]);
  },
);
