import { once } from "node:events";
import { Readable } from "node:stream";
import { expect, test, vi } from "vitest";
import type { CheckpointStore } from "../../src/index.ts";
import { acquireLease } from "../../src/save/lease.ts";
import { manualClock, memoryStore } from "../../testing/index.ts";
import type { ManualClock } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

/** Lets a third of a one-minute lease pass, and waits for its renewal. */
async function third(store: CheckpointStore, clock: ManualClock): Promise<void> {
  const leaseTag = async (): Promise<string | undefined> => (await store.read("in-progress-log-a.json"))?.tag;
  await vi.waitFor(async () => expect(await leaseTag()).toBeDefined(), { interval: 1 });
  const before = await leaseTag();
  clock.advance(20_000);
  await vi.waitFor(async () => expect(await leaseTag()).not.toBe(before), { interval: 1 });
}

test("an upload without progress for ten minutes is aborted, so that its lease ends", async () => {
  const clock = manualClock();
  const memory = memoryStore({ now: clock.now });
  const uploading = vi.fn<() => void>();
  const store: CheckpointStore = {
    ...memory,
    // This upload accepts no data until it is aborted.
    async upload(_name, content, { signal = new AbortController().signal } = {}) {
      uploading();
      await once(signal, "abort");
      content.destroy();
      throw signal.reason;
    },
  };
  const told = vi.fn<(error: unknown) => void>();
  void take(store, testSource(), await temporaryDirectory(), { clock }).catch(told);
  await vi.waitFor(() => expect(uploading).toHaveBeenCalled());
  for (let renewal = 0; renewal < 30; renewal++) await third(store, clock);
  expect(told).not.toHaveBeenCalled();
  clock.advance(20_000);
  await vi.waitFor(() =>
    expect(told).toHaveBeenCalledWith(expect.objectContaining({ code: "STORE_UNREACHABLE" })),
  );
  expect(await namesIn(store)).toEqual([]);
});

test("an upload is not aborted while the store passes bytes on, although it has read all of them", async () => {
  const clock = manualClock();
  const memory = memoryStore({ now: clock.now });
  const store: CheckpointStore = {
    ...memory,
    async upload(name, content, options) {
      const pieces = await content.toArray();
      for (let piece = 0; piece < 3; piece++) {
        options?.onSent?.();
        for (let renewal = 0; renewal < 29; renewal++) await third(store, clock);
      }
      return await memory.upload(name, Readable.from(pieces), options);
    },
  };
  const outcome = await take(store, testSource(), await temporaryDirectory(), { clock });
  expect(outcome.outcome).toBe("taken");
});

test("a lease is kept during a slow upload, and during the time before it", async () => {
  const clock = manualClock();
  const store = memoryStore({ now: clock.now });
  const lease = await acquireLease(store, { owner: "node-1", logId: "log-a", ttlMs: 60_000, clock });
  // Copying the index may take a long time and makes no progress in bytes.
  for (let renewal = 0; renewal < 40; renewal++) await third(store, clock);
  for (let bytes = 0; bytes < 3; bytes++) {
    lease?.note({ archive: "a.tar", bytes });
    for (let renewal = 0; renewal < 29; renewal++) await third(store, clock);
  }
  expect(lease?.lost.aborted).toBe(false);
  await lease?.release();
  expect(await namesIn(store)).toEqual([]);
});
