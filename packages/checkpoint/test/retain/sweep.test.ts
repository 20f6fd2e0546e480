import { join } from "node:path";
import { CairnError } from "@cairn/kv";
import { expect, test } from "vitest";
import { type CheckpointStore, listCheckpoints, markVerified } from "../../src/index.ts";
import { planPrune, removeCheckpoint } from "../../src/retain/prune.ts";
import { faultyStore, memoryStore } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, restore, sweep, take, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const HOUR = 3_600_000;
const START = Date.parse("2026-11-20T06:00:00.000Z");

async function txIdsIn(store: CheckpointStore): Promise<number[]> {
  return (await listCheckpoints(store)).checkpoints.map(({ txId }) => txId);
}

test("with retain-at-least 2, the store contains two checkpoints from the second save on", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  const counts: number[] = [];
  for (const txId of [1, 2, 3]) {
    await takeAt(txId, store, source, dir);
    await sweep(store, source, { policy: { retainAtLeast: 2 } });
    counts.push((await namesIn(store)).length);
  }
  expect(counts).toEqual([2, 4, 4]);
  expect(await txIdsIn(store)).toEqual([3, 2]);
});

test("age is measured by the store's clock, not by this machine's clock", async () => {
  const dir = await temporaryDirectory();
  let now = START;
  const store = memoryStore({ now: () => now });
  const source = testSource();
  await takeAt(1, store, source, dir);
  now += 2 * HOUR;
  await takeAt(2, store, source, dir);
  expect((await sweep(store, source, { policy: { retainNewerThan: 3 * HOUR } })).removed).toEqual([]);
  now += 2 * HOUR;
  await sweep(store, source, { policy: { retainNewerThan: 3 * HOUR } });
  expect(await txIdsIn(store)).toEqual([2]);
});

test("checkpoints of other logs are neither counted nor removed", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const other = { ...testSource(), logId: "log-b" };
  for (const txId of [50, 51]) await takeAt(txId, store, other, dir);
  const source = testSource();
  for (const txId of [1, 2]) await takeAt(txId, store, source, dir);
  await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(await txIdsIn(store)).toEqual([51, 50, 2]);
});

test("checkpoints that only another version can restore are removed after a day, once there are enough others", async () => {
  const dir = await temporaryDirectory();
  let now = START;
  const store = memoryStore({ now: () => now });
  for (const txId of [1, 2]) {
    await takeAt(txId, store, { ...testSource(), format: { index: 0, kv: "test/1" } }, dir);
  }
  const source = testSource();
  await takeAt(3, store, source, dir);
  const policy = { retainAtLeast: 1 };
  await sweep(store, source, { policy });
  expect(await txIdsIn(store)).toEqual([3, 2, 1]);
  now += 24 * HOUR;
  await sweep(store, source, { policy: { retainAtLeast: 2 } });
  expect(await txIdsIn(store)).toEqual([3, 2, 1]);
  expect((await sweep(store, source, { policy })).removed).toHaveLength(2);
  expect(await txIdsIn(store)).toEqual([3]);
});

test("checkpoints that the log has lost do not displace others, and are not removed unless that is requested", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  await takeAt(1000, store, source, dir);
  source.lostBeyond = 600;
  for (const txId of [500, 501]) await takeAt(txId, store, source, dir);
  await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(await txIdsIn(store)).toEqual([1000, 501]);
});

test("a checkpoint first loses its manifest, then its marks, and finally its archive", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const name = await takeAt(1, memory, testSource(), dir);
  await memory.create(`${name}.verified.json`, "{}");
  await memory.create(`${name}.damaged.json`, "{}");
  const removed: string[] = [];
  const store = faultyStore(memory, {
    before: async (call) => void (call.method === "remove" ? removed.push(call.name) : 0),
  });
  await removeCheckpoint(store, name, true);
  expect(removed).toEqual([`${name}.json`, `${name}.verified.json`, `${name}.damaged.json`, `${name}.tar`]);
  expect(await namesIn(memory)).toEqual([]);
});

test("a sweep without permission to remove reports the refusal, and leaves every checkpoint complete", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const source = testSource();
  for (const txId of [1, 2, 3]) await takeAt(txId, memory, source, dir);
  const denied = new CairnError("STORE_DENIED", "Nothing may be removed.");
  const store = faultyStore(memory, { fail: ({ method }) => (method === "remove" ? denied : undefined) });
  const report = await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(report.failed.map(({ error }) => error.code)).toEqual(["STORE_DENIED", "STORE_DENIED"]);
  expect(await txIdsIn(memory)).toEqual([3, 2, 1]);
});

test("if only the archive cannot be removed, the checkpoint is no longer listed, and later sweeps remove the archive", async () => {
  const dir = await temporaryDirectory();
  let now = START;
  const memory = memoryStore({ now: () => now });
  const source = testSource();
  for (const txId of [1, 2]) await takeAt(txId, memory, source, dir);
  const denied = new CairnError("STORE_DENIED", "Archives may not be removed.");
  const store = faultyStore(memory, {
    fail: ({ method, name }) => (method === "remove" && name.endsWith(".tar") ? denied : undefined),
  });
  await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(await txIdsIn(memory)).toEqual([2]);
  expect(await namesIn(memory)).toHaveLength(3);
  now += HOUR + 1;
  await sweep(memory, source);
  expect(await namesIn(memory)).toHaveLength(2);
});

test("archives without a manifest are removed only when they are old and not being uploaded", async () => {
  const dir = await temporaryDirectory();
  let now = START;
  const store = memoryStore({ now: () => now });
  const source = testSource();
  const orphan = `${await takeAt(1, store, source, dir)}`;
  await store.remove(`${orphan}.json`);
  await sweep(store, source);
  expect(await namesIn(store)).toEqual([`${orphan}.tar`]);
  now += HOUR + 1;
  const lease = {
    owner: "node-9",
    nonce: "1",
    archive: `${orphan}.tar`,
    progress: { bytes: 1 },
    expiresAt: new Date(now + 1000).toISOString(),
  };
  await store.create("in-progress-log-b.json", JSON.stringify(lease));
  await sweep(store, source);
  expect(await namesIn(store)).toContain(`${orphan}.tar`);
  now += 1001;
  const report = await sweep(store, source);
  expect(report.removed).toMatchObject([
    { name: orphan, because: expect.stringContaining("it has no manifest") },
  ]);
  expect(await namesIn(store)).toEqual(["in-progress-log-b.json"]);
});

test("checkpoints of a clock that was ahead are removed by age, but the newest and the newest verified ones stay", async () => {
  const dir = await temporaryDirectory();
  let now = START + 9_000 * HOUR;
  const store = memoryStore({ now: () => now });
  const source = testSource();
  for (const txId of [1, 2, 3]) await takeAt(txId, store, source, dir);
  const [, verified] = (await listCheckpoints(store)).checkpoints;
  if (verified === undefined) throw new Error("there is no checkpoint");
  const digest = `sha256:${"0".repeat(64)}`;
  await markVerified(store, verified.name, { node: "n", digest, manifest: verified });
  now = START;
  const policy = { retainNewerThan: HOUR };
  await sweep(store, source, { policy });
  expect(await txIdsIn(store)).toEqual([3, 2, 1]);
  await takeAt(4, store, source, dir);
  now += HOUR / 2;
  await takeAt(5, store, source, dir);
  await sweep(store, source, { policy });
  expect(await txIdsIn(store)).toEqual([5, 4, 3, 2, 1]);
  now += HOUR / 2;
  const format = { index: 1, kv: "test/1" };
  const blind = await planPrune({ store, logId: source.logId, format, policy });
  expect(blind.filter(({ keep }) => keep).map(({ txId }) => txId)).toEqual([5, 2]);
  await sweep(store, source, { policy });
  expect(await txIdsIn(store)).toEqual([5, 2]);
});

test("foreign files, even in the folder of reservations, are never removed", async () => {
  const dir = await temporaryDirectory();
  let now = START;
  const store = memoryStore({ now: () => now });
  const foreign = ["checkpoint-1.tar", "checkpoint-5-x.json", "notes.txt", "reservations/notes.txt"];
  for (const name of foreign) await store.create(name, "not ours");
  const malformed = "checkpoint-9-2026-11-20T06-12-26.123Z-1f3a9c0e";
  await store.create(`${malformed}.json`, "not ours");
  await store.create(`${malformed}.tar`, "perhaps ours");
  const source = testSource();
  for (const txId of [1, 2]) await takeAt(txId, store, source, dir);
  now += 1000 * HOUR;
  await sweep(store, source, { policy: { retainAtLeast: 1 } });
  const names = await namesIn(store);
  for (const name of [...foreign, `${malformed}.json`, `${malformed}.tar`]) expect(names).toContain(name);
  expect(await txIdsIn(store)).toEqual([2]);
});

test("a checkpoint that is being restored is kept until the restore has ended or its reservation has expired", async () => {
  const dir = await temporaryDirectory();
  let now = START;
  const store = memoryStore({ now: () => now });
  const source = testSource();
  const old = await takeAt(1, store, source, dir);
  const expiresAt = new Date(now + HOUR).toISOString();
  await store.create(
    "reservations/0000000000000001.json",
    JSON.stringify({ checkpoint: old, node: "node-2", expiresAt }),
  );
  await takeAt(2, store, source, dir);
  await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(await txIdsIn(store)).toEqual([2, 1]);
  now += HOUR + 1;
  const report = await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(report.removed.map(({ name }) => name)).toEqual([old, "reservations/0000000000000001.json"]);
  expect(await txIdsIn(store)).toEqual([2]);
});

test("a reservation made during a sweep keeps the archive that is being read", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const source = testSource();
  const old = await takeAt(1, memory, source, dir);
  await takeAt(2, memory, source, dir);
  const sweeping = faultyStore(memory, {
    // The sweep has read the reservations and is about to remove the manifest when a restore begins.
    before: async ({ method, name }) => {
      if (method !== "remove" || name !== `${old}.json`) return;
      const expiresAt = new Date(Date.now() + HOUR).toISOString();
      await memory.create(
        "reservations/0000000000000001.json",
        JSON.stringify({ checkpoint: old, node: "n", expiresAt }),
      );
    },
  });
  await sweep(sweeping, source, { policy: { retainAtLeast: 1 } });
  expect(await namesIn(memory)).toContain(`${old}.tar`);
});

test(
  "many nodes that save, sweep and restore concurrently never lose the checkpoints that they need",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    const store = memoryStore();
    const source = testSource();
    await takeAt(1, store, source, dir);
    const saving = (async () => {
      for (let txId = 2; txId < 40; txId++) {
        source.txId = txId;
        await take(store, source, dir);
        await sweep(store, source, { policy: { retainAtLeast: 1 } });
      }
    })();
    const restoring = Array.from({ length: 3 }, async (_, node) => {
      for (let time = 0; time < 8; time++) {
        const { restored } = await restore([store], join(dir, `${node}-${time}`));
        expect(restored).toBeDefined();
      }
    });
    await Promise.all([saving, ...restoring]);
  },
);

test("the newest verified checkpoint outlives newer unverified ones, unless its mark is for another archive", async () => {
  const dir = await temporaryDirectory();
  const store = memoryStore();
  const source = testSource();
  const names: string[] = [];
  for (const txId of [1, 2, 3, 4]) names.push(await takeAt(txId, store, source, dir));
  const [, second = "", third = ""] = names;
  const { checkpoints } = await listCheckpoints(store);
  const digest = `sha256:${"0".repeat(64)}`;
  for (const name of [second, third]) {
    const listed = checkpoints.find((one) => one.name === name);
    if (listed === undefined) throw new Error("not listed");
    const manifest = name === third ? { sha256: "f".repeat(64) } : listed;
    await markVerified(store, name, { node: "n", digest, manifest });
  }
  await sweep(store, source, { policy: { retainAtLeast: 1 } });
  expect(await txIdsIn(store)).toEqual([4, 2]);
});
