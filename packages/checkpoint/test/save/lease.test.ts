import { expect, onTestFinished, test, vi } from "vitest";
import type { CheckpointStore } from "../../src/index.ts";
import type { Clock } from "@cairn/kv";
import { acquireLease } from "../../src/save/lease.ts";
import type { Lease } from "../../src/save/lease.ts";
import { leaseFile } from "../../src/store/lease-record.ts";
import { readReservations, reserve } from "../../src/store/reservations.ts";
import { faultyStore, manualClock, unreachable, memoryStore } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const LEASE = leaseFile("log-a");
const OTHERS = JSON.stringify({
  owner: "node-2",
  nonce: "other",
  progress: { bytes: 0 },
  expiresAt: "2026-11-20T06:01:00.000Z",
});

const isManifest = (name: string): boolean => /^checkpoint-.*\.json$/.test(name);

async function held(store: CheckpointStore, clock: Clock): Promise<Lease> {
  const lease = await acquireLease(store, { owner: "node-1", logId: "log-a", ttlMs: 60_000, clock });
  if (lease === undefined) throw new Error("Another process holds the lease.");
  onTestFinished(() => lease.release());
  return lease;
}

/** Takes over the lease as another process would. */
async function takeOver(store: CheckpointStore): Promise<void> {
  const tag = (await store.read(LEASE))?.tag ?? "";
  expect(await store.replace(LEASE, OTHERS, tag)).not.toBe(false);
}

test("a process that was suspended for longer than its lease detects this before a timer fires, and writes nothing", async () => {
  let now = 0;
  const { wait } = manualClock();
  const store = memoryStore({ now: () => 0 });
  const lease = await held(store, { now: () => now, wait });
  const before = await store.read(LEASE);
  now = 60_000;
  const message = "The lease of this upload expired before it was renewed.";
  await expect(lease.confirm()).rejects.toMatchObject({ code: "CONFLICT", message });
  expect(lease.lost.aborted).toBe(true);
  expect(await store.read(LEASE)).toEqual(before);
});

test("a slowly renewed lease is valid from the request, not from the store's response", async () => {
  const clock = manualClock();
  const asked = vi.fn<() => void>();
  const store = faultyStore(memoryStore({ now: clock.now }), {
    before: async ({ method }) => {
      if (method !== "replace") return;
      asked();
      if (asked.mock.calls.length === 1) clock.advance(39_000);
      // The next renewal never ends.
      else await new Promise(() => undefined);
    },
  });
  const lease = await acquireLease(store, { owner: "node-1", logId: "log-a", ttlMs: 60_000, clock });
  clock.advance(20_000);
  await vi.waitFor(() => expect(clock.waits()).toContain(clock.now() + 20_000));
  clock.advance(20_000);
  await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(2));
  expect(lease?.lost.aborted).toBe(false);
  clock.advance(1_000);
  await vi.waitFor(() => expect(lease?.lost.aborted).toBe(true));
  const message = "The lease of this upload expired before it was renewed.";
  expect(lease?.lost.reason).toMatchObject({ code: "CONFLICT", message, hint: /the store responds slowly/ });
});

test("a lease that is being confirmed is renewed again if the response comes so late that little time is left", async () => {
  const clock = manualClock();
  let slow = 31_000;
  const asked = vi.fn<() => void>();
  const store = faultyStore(memoryStore({ now: clock.now }), {
    before: async ({ method }) => {
      if (method !== "replace") return;
      asked();
      // The test does not use `advance`, which would also fire the timer of a renewal.
      jumped += slow;
      slow = 0;
    },
  });
  let jumped = 0;
  const lease = await held(store, { now: () => clock.now() + jumped, wait: clock.wait });
  await lease.confirm();
  expect(asked).toHaveBeenCalledTimes(2);
  await lease.confirm();
  expect(asked).toHaveBeenCalledTimes(3);
});

test("releasing a lease leaves a successor's lease unchanged", async () => {
  const store = memoryStore();
  const lease = await held(store, manualClock(Date.now()));
  await takeOver(store);
  await lease.release();
  expect((await store.read(LEASE))?.text).toBe(OTHERS);
});

test("if creation is not exclusive, only the last writer has the lease", async () => {
  const memory = memoryStore();
  const store: CheckpointStore = {
    ...memory,
    exclusive: false,
    async create(name, text) {
      await memory.create(name, text);
      await takeOver(memory);
      return true;
    },
  };
  const options = { owner: "node-1", logId: "log-a", ttlMs: 60_000, clock: manualClock() };
  expect(await acquireLease(store, options)).toBeUndefined();
  expect((await memory.read(LEASE))?.text).toBe(OTHERS);
});

test("a process that lost its lease does not retry writing a manifest", async () => {
  const memory = memoryStore();
  let failures = 0;
  const store = faultyStore(memory, {
    before: async ({ method, name }) => {
      if (method !== "create" || !isManifest(name)) return;
      failures += 1;
      await takeOver(memory);
      throw unreachable();
    },
  });
  const round = take(store, testSource(), await temporaryDirectory());
  await expect(round).rejects.toMatchObject({ code: "CONFLICT" });
  expect(failures).toBe(1);
  expect((await namesIn(memory)).filter(isManifest)).toEqual([]);
});

test("a reservation is renewed during the restore, and removed after it", async () => {
  const clock = manualClock();
  const store = memoryStore({ now: clock.now });
  const name = "checkpoint-7-2026-11-20T05-00-00.000Z-0123abcd";
  const reservation = await reserve(store, name, "node-2", clock);
  const [file = ""] = await namesIn(store);
  for (let third = 0; third < 9; third += 1) {
    const before = (await store.read(file))?.text;
    clock.advance(100_000);
    await vi.waitFor(async () => expect((await store.read(file))?.text).not.toBe(before));
  }
  expect([...(await readReservations(store)).reserved]).toEqual([name]);
  await reservation.release();
  expect(await namesIn(store)).toEqual([]);
});
