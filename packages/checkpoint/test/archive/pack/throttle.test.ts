import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { backgroundRate, Throttle, throttleWhileBusy } from "../../../src/archive/pack/throttle.ts";
import { packDirectory } from "../../../src/archive/pack/pack.ts";
import { uploadTime } from "../../../src/save/schedule.ts";
import { temporaryDirectory, writeFiles } from "@cairn/test-support/stores/places";

const BUSY = 0;

test("background threads are throttled only while this thread is busy", async () => {
  const throttling = throttleWhileBusy(1e9);
  onTestFinished(() => throttling.stop());
  expect(throttling.shared[BUSY]).toBe(1);
  await vi.waitFor(() => expect(throttling.shared[BUSY]).toBe(0), 30_000);
  const working = setInterval(() => {
    for (const end = performance.now() + 5; performance.now() < end;);
  }, 1);
  onTestFinished(() => clearInterval(working));
  await vi.waitFor(() => expect(throttling.shared[BUSY]).toBe(1), 30_000);
  clearInterval(working);
  await vi.waitFor(() => expect(throttling.shared[BUSY]).toBe(0), 30_000);
});

test("background threads are not throttled once hurry is aborted, however busy this thread is", async () => {
  const hurry = new AbortController();
  const throttling = throttleWhileBusy(1e9, hurry.signal);
  onTestFinished(() => throttling.stop());
  const working = setInterval(() => {
    for (const end = performance.now() + 5; performance.now() < end;);
  }, 1);
  onTestFinished(() => clearInterval(working));
  let looks = 0;
  // There are more samples than it takes to find a thread idle.
  await vi.waitFor(() => expect((looks += 1)).toBeGreaterThan(8), { interval: 25, timeout: 30_000 });
  expect(throttling.shared[BUSY]).toBe(1);
  hurry.abort();
  await vi.waitFor(() => expect(throttling.shared[BUSY]).toBe(0), 30_000);
  const late = throttleWhileBusy(1e9, hurry.signal);
  late.stop();
  expect(late.shared[BUSY]).toBe(0);
});

test("packing to a file on threads respects hurry", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), { a: Buffer.alloc(1_000_000) });
  const file = await open(join(dir, "out"), "w");
  onTestFinished(() => file.close());
  const { signal: hurry } = new AbortController();
  const looked = vi.spyOn(hurry, "aborted", "get");
  const packing = await packDirectory(join(dir, "in"), { threads: true, hurry });
  await packing.direct?.writeTo(file.fd, { explain: (error) => error });
  expect(looked).toHaveBeenCalled();
});

/** Returns the durations for which threads slept during `work`, in milliseconds. */
function pausesOf(work: () => void): number[] {
  const wait = vi.spyOn(Atomics, "wait").mockReturnValue("timed-out");
  onTestFinished(() => wait.mockRestore());
  work();
  return wait.mock.calls.map((call) => call[3] ?? 0);
}

test("a thread sleeps only while another one is busy", () => {
  const here = new Throttle();
  here.setRate(1e9);
  const other = new Throttle(here.shared);
  expect(pausesOf(() => other.slices(Buffer.alloc(1_000_000), () => undefined))).toEqual([]);
  here.setBusy(true);
  expect(pausesOf(() => other.pause())).toHaveLength(1);
});

test.each([1, 2, 3])("a throttle with %i passes limits bytes to the given rate", (passes) => {
  const here = new Throttle();
  here.setBusy(true);
  here.setRate(10_000_000);
  const other = new Throttle(here.shared, passes);
  const pauses = pausesOf(() => {
    for (let pass = 0; pass < passes; pass += 1) other.slices(Buffer.alloc(2_000_000), () => undefined);
  });
  const total = pauses.reduce((sum, pause) => sum + pause, 0);
  // The last piece may be too short for a pause.
  expect(total).toBeGreaterThan(190);
  expect(total).toBeLessThan(201);
  expect(Math.max(...pauses)).toBeLessThan(14);
});

test("the throttle pauses once for several small pieces", () => {
  const throttle = new Throttle();
  throttle.setBusy(true);
  throttle.setRate(1e6);
  const pauses = pausesOf(() => {
    for (let piece = 0; piece < 128; piece += 1) throttle.pause(1024);
  });
  expect(pauses).toHaveLength(2);
  expect(pauses[0]).toBeCloseTo(65.536, 1);
});

test("the background rate grows with the number of processors, and respects the time limit", () => {
  const MiB = 1024 * 1024;
  expect(backgroundRate(1, undefined, 2)).toBe(24 * MiB);
  expect(backgroundRate(1e12, undefined, 8)).toBe(96 * MiB);
  // The limits are 100 GB within 18 minutes, which is a twentieth of six hours, and 1 GB within three seconds.
  expect(backgroundRate(100e9, uploadTime(6 * 3_600_000), 2)).toBeCloseTo(100e9 / 1_080);
  expect(backgroundRate(1e9, uploadTime(60_000), 2)).toBeCloseTo(1e9 / 3);
});

test("slices cover all bytes, in order", () => {
  const bytes = Buffer.from(Array.from({ length: 200_001 }, (_, index) => index % 251));
  const seen: Buffer[] = [];
  new Throttle().slices(bytes, (slice) => seen.push(Buffer.from(slice)));
  expect(seen.length).toBeGreaterThan(1);
  expect(Buffer.concat(seen).equals(bytes)).toBe(true);
});
