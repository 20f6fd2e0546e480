import { join } from "node:path";
import { CairnError, systemClock } from "@cairn/kv";
import { expect, test } from "vitest";
import { listCheckpoints, markVerified } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { publishManifest } from "../../src/save/save-checkpoint.ts";
import { reserve } from "../../src/store/reservations.ts";
import { faultyStore, manualClock, unreachable, memoryStore } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const isManifest = (name: string): boolean => /^checkpoint-.*\.json$/.test(name);

async function lost(): Promise<never> {
  throw new CairnError("CONFLICT", "The lease is lost.");
}

test("publication is not retried once the lease is lost", async () => {
  const store = memoryStore();
  const failing = faultyStore(store, {
    fail: ({ method, nth }) => (method === "create" && nth === 1 ? unreachable() : undefined),
  });
  const clock = { ...systemClock, wait: async () => true };
  await expect(publishManifest(failing, "m.json", "{}", clock, lost)).rejects.toMatchObject({
    code: "CONFLICT",
  });
  expect(await namesIn(store)).toEqual([]);
  await publishManifest(failing, "m.json", "{}", clock, async () => undefined);
  expect(await namesIn(store)).toEqual(["m.json"]);
});

test("nothing is published if a response arrives after the lease has expired", async () => {
  const dir = await temporaryDirectory();
  const clock = manualClock();
  const memory = memoryStore({ now: clock.now });
  const store = faultyStore(memory, {
    // The process is suspended while its last renewal is in transit.
    before: async ({ method }) => void (method === "replace" && clock.advance(61_000)),
  });
  await expect(take(store, testSource(), dir, { clock })).rejects.toMatchObject({ code: "CONFLICT" });
  expect((await namesIn(memory)).filter(isManifest)).toEqual([]);
});

/** Returns a store that accepts a manifest and does not respond until `then` has happened. */
function silentAfterPublishing(
  memory: CheckpointStore,
  then: (name: string) => Promise<unknown>,
): CheckpointStore {
  const full = new CairnError("STORE_FULL", "The store is full.");
  let published: string | undefined;
  return faultyStore(memory, {
    before: async ({ method, name }) => {
      if (method === "list" && published !== undefined) await then(published.replace(/\.json$/, ""));
      if (method === "create" && isManifest(name)) published = name;
    },
    failAfter: ({ method, name }) => (method === "create" && isManifest(name) ? full : undefined),
  });
}

test("a round that does not know that its manifest was written removes the checkpoint, unless a node is restoring it", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const unused = silentAfterPublishing(memory, async () => undefined);
  await expect(take(unused, testSource(), join(dir, "1"))).rejects.toMatchObject({ code: "STORE_FULL" });
  expect(await namesIn(memory)).toEqual([]);

  const restored = silentAfterPublishing(memory, (name) => reserve(memory, name, "node-2", manualClock()));
  await expect(take(restored, testSource(), join(dir, "2"))).rejects.toMatchObject({ code: "STORE_FULL" });
  expect((await listCheckpoints(memory)).checkpoints).toHaveLength(1);
});

test("a round that does not know that its manifest was written keeps the checkpoint if a node has verified it", async () => {
  const dir = await temporaryDirectory();
  const memory = memoryStore();
  const store = silentAfterPublishing(memory, async (name) => {
    const [manifest] = (await listCheckpoints(memory)).checkpoints;
    if (manifest === undefined) throw new Error("It is not published.");
    await markVerified(memory, name, { node: "node-2", digest: `sha256:${"0".repeat(64)}`, manifest });
  });
  await expect(take(store, testSource(), dir)).rejects.toMatchObject({ code: "STORE_FULL" });
  expect((await listCheckpoints(memory)).checkpoints).toMatchObject([{ verified: true }]);
});
