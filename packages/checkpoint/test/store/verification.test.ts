import { join } from "node:path";
import { readFile, writeFile } from "node:fs/promises";
import { CairnError } from "@cairn/kv";
import { expect, test } from "vitest";
import {
  type CheckpointStore,
  filesystemStore,
  listCheckpoints,
  markDamaged,
  markVerified,
  readVerification,
} from "../../src/index.ts";
import { removeCheckpoint } from "../../src/retain/prune.ts";
import { checkpointFile } from "../../src/store/checkpoint.ts";
import { faultyStore, type StoreFaults, memoryStore } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const NAME = "checkpoint-7-2026-11-20T06-12-26.123Z-1f3a9c0e";
const MANIFEST = { sha256: "a".repeat(64) };
const FOUND = { node: "node-1", digest: `sha256:${"b".repeat(64)}`, manifest: MANIFEST };

/** Returns a folder in which a checkpoint has been published. */
async function published(): Promise<CheckpointStore> {
  const store = filesystemStore({ path: await temporaryDirectory() });
  await store.create(checkpointFile(NAME, "manifest"), "{}");
  return store;
}

test("a mark states the time, the node and the digest", async () => {
  const store = await published();
  expect(await readVerification(store, NAME, MANIFEST)).toBeUndefined();
  const before = await store.now();
  const mark = await markVerified(store, NAME, FOUND);
  expect(mark).toMatchObject({ node: "node-1", digest: FOUND.digest });
  expect(Date.parse(mark.verifiedAt)).toBeGreaterThanOrEqual(before);
  expect(await readVerification(store, NAME, MANIFEST)).toEqual(mark);
});

test("a later mark replaces the earlier one", async () => {
  const store = await published();
  await markVerified(store, NAME, FOUND);
  await markVerified(store, NAME, { ...FOUND, node: "node-2" });
  expect(await readVerification(store, NAME, MANIFEST)).toMatchObject({ node: "node-2" });
});

test("a mark for another manifest does not count", async () => {
  const store = await published();
  await markVerified(store, NAME, FOUND);
  expect(await readVerification(store, NAME, { sha256: "c".repeat(64) })).toBeUndefined();
});

test.each(["", "{", "null", '{"verifiedAt": "yesterday"}'])(
  "a mark with the content %j does not count",
  async (text) => {
    const path = await temporaryDirectory();
    await writeFile(join(path, checkpointFile(NAME, "verified")), text);
    expect(await readVerification(filesystemStore({ path }), NAME, MANIFEST)).toBeUndefined();
  },
);

test("a mark without a checkpoint is not a checkpoint", async () => {
  const path = await temporaryDirectory();
  const store = filesystemStore({ path });
  await store.create(checkpointFile(NAME, "verified"), "{}\n");
  expect(await listCheckpoints(store)).toEqual({ checkpoints: [], skipped: [], incomplete: [] });
  expect(await readFile(join(path, `${NAME}.verified.json`), "utf8")).toMatch(/\n$/);
});

/** Returns a store with one checkpoint, a function that lists its marks, and one that verifies it. */
async function saved(faults: StoreFaults = {}) {
  const memory = memoryStore();
  const store: CheckpointStore = faultyStore(memory, faults);
  const name = await takeAt(7, memory, testSource(), await temporaryDirectory());
  const listed = async () => (await listCheckpoints(store)).checkpoints[0];
  const manifest = (await listed()) ?? MANIFEST;
  const verify = () => markVerified(memory, name, { ...FOUND, manifest });
  return { memory, store, name, listed, verify };
}

test("a mark of damage replaces the mark of a verification, and a later verification removes it", async () => {
  const { memory, store, name, listed, verify } = await saved();
  expect(await listed()).toMatchObject({ verified: false, damaged: false });
  await verify();
  expect(await listed()).toMatchObject({ verified: true, damaged: false });
  await markDamaged(store, [name], "node-2");
  await markDamaged(store, [name], "node-3");
  expect(await listed()).toMatchObject({ verified: false, damaged: true });
  expect(await namesIn(memory)).toEqual([`${name}.damaged.json`, `${name}.json`, `${name}.tar`]);
  expect(JSON.parse((await memory.read(`${name}.damaged.json`))?.text ?? "")).toEqual({
    foundAt: expect.stringMatching(/^20.*Z$/),
    node: "node-2",
  });
  await verify();
  expect(await listed()).toMatchObject({ verified: true, damaged: false });
  expect(await namesIn(memory)).toEqual([`${name}.json`, `${name}.tar`, `${name}.verified.json`]);
});

test.each(["now", "create"])(
  "a checkpoint that a sweep removes before the request to %s of its verification is not found, and keeps no mark",
  async (method) => {
    const path = await temporaryDirectory();
    const folder = filesystemStore({ path });
    const name = await takeAt(7, folder, testSource(), await temporaryDirectory());
    const store = faultyStore(folder, {
      before: async (call) => void (call.method === method && (await removeCheckpoint(folder, name))),
    });
    await expect(markVerified(store, name, FOUND)).rejects.toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
    expect(await namesIn(folder)).toEqual([]);
  },
);

test("damage that the listing shows results in no mark, because the checkpoint may still be being copied", async () => {
  const { memory, store, name, verify } = await saved();
  await verify();
  await memory.remove(`${name}.tar`);
  await markDamaged(store, [name, NAME], "node-2");
  expect(await namesIn(memory)).toEqual([`${name}.json`]);
});

test.each(["create", "remove"])(
  "a refusal to %s leaves no checkpoint that counts as verified",
  async (method) => {
    const denied = new CairnError("STORE_DENIED", "It may not be done.");
    const { store, name, listed, verify } = await saved({
      fail: (call) => (call.method === method ? denied : undefined),
    });
    await verify();
    await expect(markDamaged(store, [name], "node-2")).rejects.toBe(denied);
    expect(await listed()).toMatchObject({ verified: false });
  },
);
