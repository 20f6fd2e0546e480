import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { packDirectory } from "../../src/index.ts";
import { gentleRate, Pace } from "../../src/archive/pace.ts";
import { paceByThisThread } from "../../src/archive/pack/pace-by-this-thread.ts";
import { uploadTime } from "../../src/save/schedule.ts";
import { temporaryDirectory, writeFiles } from "../support/places.ts";

const BUSY = 0;

test("background threads are asked to give way while this thread has something to do, and no longer", async () => {
  const pacing = paceByThisThread(1e9);
  onTestFinished(() => pacing.stop());
  expect(pacing.shared[BUSY]).toBe(1);
  await vi.waitFor(() => expect(pacing.shared[BUSY]).toBe(0), 30_000);
  const working = setInterval(() => {
    for (const end = performance.now() + 5; performance.now() < end;);
  }, 1);
  onTestFinished(() => clearInterval(working));
  await vi.waitFor(() => expect(pacing.shared[BUSY]).toBe(1), 30_000);
  clearInterval(working);
  await vi.waitFor(() => expect(pacing.shared[BUSY]).toBe(0), 30_000);
});

test("background threads need not give way any more once there is a hurry, however busy this thread is", async () => {
  const hurry = new AbortController();
  const pacing = paceByThisThread(1e9, hurry.signal);
  onTestFinished(() => pacing.stop());
  const working = setInterval(() => {
    for (const end = performance.now() + 5; performance.now() < end;);
  }, 1);
  onTestFinished(() => clearInterval(working));
  let looks = 0;
  // More than it takes to find this thread idle, were it so.
  await vi.waitFor(() => expect((looks += 1)).toBeGreaterThan(8), { interval: 25, timeout: 30_000 });
  expect(pacing.shared[BUSY]).toBe(1);
  hurry.abort();
  await vi.waitFor(() => expect(pacing.shared[BUSY]).toBe(0), 30_000);
  const late = paceByThisThread(1e9, hurry.signal);
  late.stop();
  expect(late.shared[BUSY]).toBe(0);
});

test("packing to a file on threads looks whether there is a hurry", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), { a: Buffer.alloc(1_000_000) });
  const file = await open(join(dir, "out"), "w");
  onTestFinished(() => file.close());
  const { signal: hurry } = new AbortController();
  const looked = vi.spyOn(hurry, "aborted", "get");
  const packing = packDirectory(join(dir, "in"), { threads: true, hurry });
  await packing.direct?.writeTo(file.fd, { explain: (error) => error });
  expect(looked).toHaveBeenCalled();
});

/** How long threads rested, in milliseconds, while `work` was done. */
function restsOf(work: () => void): number[] {
  const wait = vi.spyOn(Atomics, "wait").mockReturnValue("timed-out");
  onTestFinished(() => wait.mockRestore());
  work();
  return wait.mock.calls.map((call) => call[3] ?? 0);
}

test("a thread rests only while somebody is busy", () => {
  const here = new Pace();
  here.setRate(1e9);
  const other = new Pace(here.shared);
  expect(restsOf(() => other.slices(Buffer.alloc(1_000_000), () => undefined))).toEqual([]);
  here.setBusy(true);
  expect(restsOf(() => other.between())).toHaveLength(1);
});

test.each([1, 2, 3])("goes over all bytes %i times at the speed it is told", (passes) => {
  const here = new Pace();
  here.setBusy(true);
  here.setRate(10_000_000);
  const other = new Pace(here.shared, passes);
  const rests = restsOf(() => {
    for (let pass = 0; pass < passes; pass += 1) other.slices(Buffer.alloc(2_000_000), () => undefined);
  });
  const total = rests.reduce((sum, rest) => sum + rest, 0);
  // The last piece may be too short for a rest.
  expect(total).toBeGreaterThan(190);
  expect(total).toBeLessThan(201);
  expect(Math.max(...rests)).toBeLessThan(14);
});

test("small pieces add up to a rest", () => {
  const pace = new Pace();
  pace.setBusy(true);
  pace.setRate(1e6);
  const rests = restsOf(() => {
    for (let piece = 0; piece < 128; piece += 1) pace.between(1024);
  });
  expect(rests).toHaveLength(2);
  expect(rests[0]).toBeCloseTo(65.536, 1);
});

test("who is busy is given way to by as much as there are processors to spare, and no longer than there is time", () => {
  const MiB = 1024 * 1024;
  expect(gentleRate(1, undefined, 2)).toBe(24 * MiB);
  expect(gentleRate(1e12, undefined, 8)).toBe(96 * MiB);
  // 100 GB within 18 minutes, a twentieth of six hours; and 1 GB within three seconds.
  expect(gentleRate(100e9, uploadTime(6 * 3_600_000), 2)).toBeCloseTo(100e9 / 1_080);
  expect(gentleRate(1e9, uploadTime(60_000), 2)).toBeCloseTo(1e9 / 3);
});

test("slices are all of the bytes, in order", () => {
  const bytes = Buffer.from(Array.from({ length: 200_001 }, (_, index) => index % 251));
  const seen: Buffer[] = [];
  new Pace().slices(bytes, (slice) => seen.push(Buffer.from(slice)));
  expect(seen.length).toBeGreaterThan(1);
  expect(Buffer.concat(seen).equals(bytes)).toBe(true);
});
