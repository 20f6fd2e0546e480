import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CairnError } from "@cairn/kv";
import { expect, test, vi } from "vitest";
import { filesystemStore, listCheckpoints } from "../../src/index.ts";
import { decodeManifest } from "../../src/store/checkpoint.ts";
import { faultyStore, manualClock, type StoreFaults, unreachable, memoryStore } from "../../testing/index.ts";
import { filesAt } from "@cairn/test-support/stores/index-files";
import { digestsOf, someFiles, temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, restore, restoredIn, take, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

test.each(["none", "gzip"] as const)(
  "an index saved in a folder is restored byte for byte, with compression %s",
  async (compression) => {
    const dir = await temporaryDirectory();
    const store = filesystemStore({ path: join(dir, "store") });
    const source = testSource();
    source.files = someFiles();
    expect(await take(store, source, dir, { options: { compression } })).toMatchObject({ outcome: "taken" });
    const { restored } = await restore([store], dir);
    expect(restored?.manifest).toMatchObject({ txId: 1, node: "node-1", log: { id: "log-a" } });
    expect(await restoredIn(dir)).toEqual(digestsOf(source.files));
  },
);

test("the store holds the archive and, written last, its manifest, and nothing is left on this machine", async () => {
  const dir = await temporaryDirectory();
  const order: string[] = [];
  const store = faultyStore(filesystemStore({ path: join(dir, "store") }), {
    before: async ({ method, name }) =>
      void (method === "upload" || method === "create" ? order.push(name) : 0),
  });
  const name = await takeAt(7, store, testSource(), dir);
  expect(await namesIn(store)).toEqual([`${name}.json`, `${name}.tar`]);
  expect(order).toEqual(["in-progress-log-a.json", `${name}.tar`, `${name}.json`]);
  expect(await readdir(join(dir, "capture"))).toEqual([]);
  const manifest = decodeManifest(name, (await store.read(`${name}.json`))?.text ?? "");
  expect(Object.fromEntries(manifest.files.map((file) => [file.name, file.sha256]))).toEqual(
    digestsOf(filesAt(7)),
  );
});

test("nothing is copied if nothing has changed, if the newest checkpoint is recent, or if the index is empty", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  source.txId = 0;
  expect(await take(store, source, dir)).toMatchObject({ outcome: "skipped", reason: "empty" });
  await takeAt(5, store, source, dir);
  expect(await take(store, source, dir)).toMatchObject({ outcome: "skipped", reason: "unchanged" });
  source.txId = 6;
  expect(await take(store, source, dir, { forced: false })).toMatchObject({
    outcome: "skipped",
    reason: "recent",
  });
  expect(source.captures).toBe(1);
  expect(await take(store, source, dir)).toMatchObject({ outcome: "taken" });
});

test("checkpoints of another log, of another format or lost by the log do not count as the newest", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const other = { ...testSource(), logId: "log-b" };
  await takeAt(100, store, other, dir);
  const old = { ...testSource(), format: { index: 0, kv: "test/1" } };
  await takeAt(90, store, testSource(), dir);
  expect(await take(store, { ...old, txId: 80 }, dir, { forced: false })).toMatchObject({ outcome: "taken" });
  const source = { ...testSource(), txId: 50, lostBeyond: 60 };
  expect(await take(store, source, dir, { forced: false })).toMatchObject({ outcome: "taken" });
});

test("a checkpoint whose archive is missing does not count as the newest", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  const name = await takeAt(5, store, source, dir);
  await store.remove(`${name}.tar`);
  expect(await take(store, source, dir, { forced: false })).toMatchObject({ outcome: "taken" });
});

test("foreign and malformed files do not keep a checkpoint from being saved, and are not changed", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const foreign = [
    "checkpoint-9-2026-11-20T06-12-26.123Z-1f3a9c0e.json",
    "checkpoint-5-2022-05-03T10-12-26.123-00-00.edn",
    "checkpoint-latest.json",
    "readme.txt",
    "reservations/note.txt",
  ];
  for (const name of foreign) await store.create(name, "not ours");
  const name = await takeAt(3, store, testSource(), dir);
  expect(await namesIn(store)).toEqual([...foreign, `${name}.json`, `${name}.tar`].toSorted());
  const { checkpoints, skipped } = await listCheckpoints(store);
  expect(checkpoints.map((one) => one.name)).toEqual([name]);
  expect(skipped).toMatchObject([{ error: { code: "CHECKPOINT_CORRUPT" } }]);
});

const full = new CairnError("STORE_FULL", "The store is full.");
const failures: [string, StoreFaults][] = [
  ["the upload fails", { fail: ({ method }) => (method === "upload" ? full : undefined) }],
  [
    "the response to the upload is lost",
    { failAfter: ({ method }) => (method === "upload" ? full : undefined) },
  ],
  [
    "the manifest cannot be written",
    {
      fail: ({ method, name }) => (method === "create" && name.startsWith("checkpoint-") ? full : undefined),
    },
  ],
  [
    "the manifest is written but the response reports a failure",
    {
      failAfter: ({ method, name }) =>
        method === "create" && name.startsWith("checkpoint-") ? full : undefined,
    },
  ],
  [
    "the lease cannot be renewed before publishing",
    { fail: ({ method }) => (method === "replace" ? full : undefined) },
  ],
];
test.each(failures)("if %s, the error is thrown, and nothing new is listed", async (_what, faults) => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const source = testSource();
  await expect(take(faultyStore(memory, faults), source, dir)).rejects.toMatchObject({ code: "STORE_FULL" });
  expect(await namesIn(memory)).toEqual([]);
  expect(await readdir(join(dir, "capture"))).toEqual([]);
  expect(await take(memory, source, dir)).toMatchObject({ outcome: "taken" });
});

test("if the response to writing the manifest is lost, the manifest is read again, and the save does not fail", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  let lost = 0;
  const store = faultyStore(memory, {
    failAfter: ({ method, name }) =>
      method === "create" && name.startsWith("checkpoint-") && ++lost === 1 ? unreachable() : undefined,
  });
  expect(await take(store, testSource(), dir)).toMatchObject({ outcome: "taken" });
  expect((await listCheckpoints(memory)).checkpoints).toHaveLength(1);
});

test("a store that loses bytes is detected before anything is published", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const store = {
    ...memory,
    upload: async (...args: Parameters<typeof memory.upload>) => ({
      bytes: (await memory.upload(...args)).bytes - 1,
    }),
  };
  await expect(take(store, testSource(), dir)).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
  expect(await namesIn(memory)).toEqual([]);
});

test("a failed capture ends the round, and releases the lease", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  source.beforeCapture = async () => {
    throw new CairnError("INDEX_CORRUPT", "The index cannot be read.");
  };
  await expect(take(store, source, dir)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  expect(await namesIn(store)).toEqual([]);
  expect(await readdir(join(dir, "capture"))).toEqual([]);
});

test("while one node uploads, others skip their checkpoints", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  const others = vi.fn<(outcome: unknown) => void>();
  source.beforeCapture = async () => others(await take(store, testSource("node-2"), join(dir, "2")));
  expect(await take(store, source, dir)).toMatchObject({ outcome: "taken" });
  expect(others).toHaveBeenCalledWith(expect.objectContaining({ outcome: "skipped", reason: "leased" }));
});

test("nothing is saved if another node saved between the look and the lease", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const source = testSource();
  let raced = false;
  const store = faultyStore(memory, {
    before: async ({ method }) => {
      if (method !== "create" || raced) return;
      raced = true;
      expect(await take(memory, testSource("node-2"), join(dir, "2"))).toMatchObject({ outcome: "taken" });
    },
  });
  expect(await take(store, source, dir)).toMatchObject({ outcome: "skipped", reason: "unchanged" });
  expect(source.captures).toBe(0);
  expect(await namesIn(memory)).not.toContain("in-progress-log-a.json");
});

test("the lease of a node that died is taken over once it has expired by the store's clock", async () => {
  const dir = await temporaryDirectory();
  let now = Date.parse("2026-11-20T06:00:00.000Z");
  const store = memoryStore({ now: () => now });
  const dead = testSource("node-dead");
  const neverAgain = new Promise<void>(() => undefined);
  const captured = new Promise<void>((resolve) => {
    dead.beforeCapture = () => {
      resolve();
      return neverAgain;
    };
  });
  // The clock of the other process does not advance, so the process does not renew its lease, as if it were dead.
  void take(store, dead, join(dir, "dead"), { clock: manualClock() });
  await captured;
  now += 59_000;
  expect(await take(store, testSource(), dir)).toMatchObject({ outcome: "skipped", reason: "leased" });
  now += 2_000;
  expect(await take(store, testSource(), dir)).toMatchObject({ outcome: "taken" });
});

test("a process that was suspended for longer than its lease publishes nothing in addition to its successor", async () => {
  const dir = await temporaryDirectory();
  let now = Date.parse("2026-11-20T06:00:00.000Z");
  const store = memoryStore({ now: () => now });
  const frozen = testSource("node-frozen");
  frozen.txId = 9;
  frozen.beforeCapture = async () => {
    now += 61_000;
    expect(await take(store, testSource("node-2"), join(dir, "2"))).toMatchObject({ outcome: "taken" });
  };
  await expect(take(store, frozen, dir, { clock: manualClock() })).rejects.toMatchObject({
    code: "CONFLICT",
  });
  const { checkpoints } = await listCheckpoints(store);
  expect(checkpoints.map(({ node }) => node)).toEqual(["node-2"]);
  expect(await namesIn(store)).toHaveLength(2);
});

test("a lease is renewed during the upload, and publishes its progress", async () => {
  const dir = await temporaryDirectory();
  let now = Date.parse("2026-11-20T06:00:00.000Z");
  const store = memoryStore({ now: () => now });
  const clock = manualClock(now);
  const source = testSource();
  source.beforeCapture = async () => {
    for (let third = 0; third < 9; third++) {
      const before = (await store.read("in-progress-log-a.json"))?.tag;
      now += 20_000;
      clock.advance(20_000);
      await vi.waitFor(async () =>
        expect((await store.read("in-progress-log-a.json"))?.tag).not.toBe(before),
      );
    }
    const other = await take(store, testSource("node-2"), join(dir, "2"));
    expect(other).toMatchObject({ outcome: "skipped", reason: "leased" });
  };
  expect(await take(store, source, dir, { clock })).toMatchObject({ outcome: "taken" });
  expect(await namesIn(store)).not.toContain("in-progress-log-a.json");
});

test("a lease that is valid for years because of a wrong clock does not count", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const expiresAt = "2099-01-01T00:00:00.000Z";
  const lease = { owner: "node-x", nonce: "1", progress: { bytes: 0 }, expiresAt };
  await store.create("in-progress-log-a.json", JSON.stringify(lease));
  expect(await take(store, testSource(), dir)).toMatchObject({ outcome: "taken" });
});

test("an unreadable lease is valid for ten minutes", async () => {
  const dir = await temporaryDirectory();
  let now = Date.parse("2026-11-20T06:00:00.000Z");
  const store = memoryStore({ now: () => now });
  await store.create("in-progress-log-a.json", "half a le");
  expect(await take(store, testSource(), dir)).toMatchObject({
    outcome: "skipped",
    reason: "leased",
    because: expect.stringMatching(
      /^An unknown process is uploading a checkpoint, .* its lease ends at 2026-11-20T06:10:00\.000Z\.$/,
    ) as string,
  });
  now += 600_001;
  expect(await take(store, testSource(), dir)).toMatchObject({ outcome: "taken" });
});

test("an aborted round ends with the signal's reason, and leaves nothing behind", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: join(dir, "store") });
  const stop = new AbortController();
  const round = take(store, testSource(), dir, {
    signal: stop.signal,
    onStep: (step) => {
      if (step === "uploading") stop.abort(new Error("the node stops"));
    },
  });
  await expect(round).rejects.toThrow("the node stops");
  expect(await namesIn(store)).toEqual([]);
  expect(await readdir(join(dir, "store"))).toEqual([]);
  expect(await readdir(join(dir, "capture"))).toEqual([]);
});

test("an unreachable store fails the round before anything is captured", async () => {
  const dir = await temporaryDirectory();
  const source = testSource();
  const store = faultyStore(memoryStore(), { fail: unreachable });
  await expect(take(store, source, dir)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect(source.captures).toBe(0);
});
