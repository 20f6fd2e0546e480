import { CairnError } from "@cairn/kv";
import { expect, test } from "vitest";
import { type CheckpointStore, findCandidates, markDamaged } from "../../src/index.ts";
import type { FindOptions } from "../../src/restore/restore-checkpoint.ts";
import { faultyStore, unreachable, memoryStore } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

async function found(stores: readonly CheckpointStore[], options?: FindOptions): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, store } of findCandidates(stores, options))
    names.push(`${store.location} ${name}`);
  return names;
}

test("empty stores have no candidates", async () => {
  expect(await found([])).toEqual([]);
  expect(await found([memoryStore(), memoryStore()])).toEqual([]);
});

test("if no store can be read, an error is thrown", async () => {
  const away = faultyStore(memoryStore(), { fail: unreachable });
  await expect(found([away])).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  await expect(found([away, away])).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
});

test("an unreachable store is reported, and the others are read", async () => {
  const away = faultyStore(memoryStore({ name: "away" }), { fail: unreachable });
  const reported: string[] = [];
  const onUnreachable: FindOptions["onUnreachable"] = (store) => void reported.push(store.location);
  expect(await found([away, memoryStore()], { onUnreachable })).toEqual([]);
  expect(reported).toEqual(["memory://away"]);
});

test("a process that lacks resources does not restore an older checkpoint from another store", async () => {
  const refused = new CairnError("SYSTEM_REFUSED", "This process has reached its limit on open files.");
  const exhausted = faultyStore(memoryStore({ name: "exhausted" }), { fail: () => refused });
  const dir = await temporaryDirectory();
  const other = memoryStore({ name: "other" });
  await takeAt(1, other, testSource(), dir);
  await expect(found([exhausted, other])).rejects.toBe(refused);
});

test("a store that becomes unreachable between two manifests is reported, and candidates of other stores follow", async () => {
  const dir = await temporaryDirectory();
  const main = memoryStore({ name: "main" });
  const other = memoryStore({ name: "other" });
  for (const txId of [1, 3]) await takeAt(txId, main, testSource(), dir);
  const second = await takeAt(2, other, testSource(), dir);
  const going = faultyStore(main, {
    fail: ({ method, nth }) => (method === "read" && nth > 1 ? unreachable() : undefined),
  });
  const reported: string[] = [];
  const names = await found([going, other], {
    onUnreachable: (store) => void reported.push(store.location),
  });
  expect(names).toEqual([
    expect.stringMatching(/^memory:\/\/main checkpoint-3-/),
    `memory://other ${second}`,
  ]);
  expect(reported).toEqual(["memory://main"]);
});

test("manifests are read on demand", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  for (const txId of [1, 2, 3]) await takeAt(txId, memory, testSource(), dir);
  let reads = 0;
  const counting = faultyStore(memory, {
    before: async ({ method }) => void (method === "read" ? (reads += 1) : 0),
  });
  for await (const { manifest } of findCandidates([counting])) {
    expect(manifest.txId).toBe(3);
    break;
  }
  expect(reads).toBe(1);
});

test("if a checkpoint is requested by name, no other manifest is read", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const [oldest = ""] = [
    await takeAt(1, memory, testSource(), dir),
    await takeAt(2, memory, testSource(), dir),
  ];
  const read: string[] = [];
  const watched = faultyStore(memory, {
    before: async ({ method, name }) => void (method === "read" ? read.push(name) : 0),
  });
  expect(await found([watched], { name: oldest })).toEqual([expect.stringContaining(oldest)]);
  expect(read).toEqual([`${oldest}.json`]);
  expect(await found([watched], { name: `${oldest}x` })).toEqual([]);
});

test("a checkpoint that is marked as damaged is reported in its turn, and comes last", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore({ name: "main" });
  const names: string[] = [];
  for (const txId of [1, 2, 3]) names.unshift(await takeAt(txId, store, testSource(), dir));
  const [newest = "", middle = "", oldest = ""] = names;
  await markDamaged(store, [newest], "n");
  const reported: string[] = [];
  const onSkipped: FindOptions["onSkipped"] = ({ name, error }) =>
    void reported.push(`${name} ${error.code}`);
  const order = [middle, oldest, newest].map((name) => `memory://main ${name}`);
  expect(await found([store], { onSkipped })).toEqual(order);
  expect(reported).toEqual([`${newest} CHECKPOINT_CORRUPT`]);
  expect(await found([store], { name: newest })).toEqual([`memory://main ${newest}`]);
});
