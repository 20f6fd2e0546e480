import { expect, onTestFinished, test, vi } from "vitest";
import { Pace } from "../src/pace.ts";
import { paceByThisThread } from "../src/pace-by-this-thread.ts";

const BUSY = 0;

test("background threads are asked to give way while this thread has something to do, and no longer", async () => {
  const pacing = paceByThisThread();
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

test("a thread rests only while somebody is busy", () => {
  const wait = vi.spyOn(Atomics, "wait");
  onTestFinished(() => wait.mockRestore());
  const here = new Pace();
  const other = new Pace(here.shared);
  other.slices(Buffer.alloc(1_000_000), () => undefined);
  expect(wait).not.toHaveBeenCalled();
  here.setBusy(true);
  other.between();
  expect(wait).toHaveBeenCalledOnce();
});

test("slices are all of the bytes, in order", () => {
  const bytes = Buffer.from(Array.from({ length: 200_001 }, (_, index) => index % 251));
  const seen: Buffer[] = [];
  new Pace().slices(bytes, (slice) => seen.push(Buffer.from(slice)));
  expect(seen.length).toBeGreaterThan(1);
  expect(Buffer.concat(seen).equals(bytes)).toBe(true);
});
