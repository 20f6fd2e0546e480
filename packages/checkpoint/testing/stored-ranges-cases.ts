import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { expect, onTestFinished, vi } from "vitest";
import type { CheckpointStore, StoredRanges } from "../src/index.ts";
import { seededRandom } from "./simulation/seeded-random.ts";

interface RangesCase {
  readonly title: string;
  readonly run: () => Promise<void>;
}

const BYTES = 600_000;
const NAME = "a.tar";

/** Returns the cases of the contract of {@link StoredRanges}. `other` returns the same store, opened again. */
export function storedRangesCases(
  opened: () => Promise<CheckpointStore>,
  other: (store: CheckpointStore) => Promise<CheckpointStore>,
): readonly RangesCase[] {
  const cases: RangesCase[] = [];
  const add = (title: string, run: () => Promise<void>): void => void cases.push({ title, run });
  const uploaded = async (): Promise<{ store: CheckpointStore; content: Buffer; ranges: StoredRanges }> => {
    const store = await opened();
    const content = randomBytes(BYTES);
    await upload(store, content);
    return { store, content, ranges: await openRanges(store, NAME) };
  };

  add("ranges of a file are equal to its content, even if they are read at once", async () => {
    const { content, ranges } = await uploaded();
    const random = seededRandom(1);
    const offset = (): number => Math.floor(random.between(0, BYTES + 1));
    const drawn = (): [number, number] => {
      const [a, b] = [offset(), offset()];
      return [Math.min(a, b), Math.max(a, b)];
    };
    const bounds: readonly [number, number][] = [
      [0, 1],
      [BYTES - 1, BYTES],
      [0, BYTES],
      [0, 0],
      [BYTES, BYTES],
      ...Array.from({ length: 60 }, drawn),
    ];
    // Readers may share a signal, about whose many listeners Node must not warn.
    const { signal } = new AbortController();
    const warned = vi.fn<(warning: Error) => void>();
    process.on("warning", warned);
    onTestFinished(() => void process.off("warning", warned));
    const isEqual = async ([start, end]: [number, number]): Promise<boolean> =>
      (await ranges.read(start, end, signal)).equals(content.subarray(start, end));
    expect((await Promise.all(bounds.map(isEqual))).indexOf(false)).toBe(-1);
    await new Promise(setImmediate);
    expect(warned.mock.calls.filter(([{ name }]) => name === "MaxListenersExceededWarning")).toEqual([]);
    for (const bound of bounds.slice(0, 10)) expect([bound, await isEqual(bound)]).toEqual([bound, true]);
    await ranges.close();
  });

  add("opening a missing file for ranges throws NOT_FOUND, as may the first read instead", async () => {
    const store = await opened();
    const missing = { code: "NOT_FOUND" };
    await expect(firstByte(store, NAME)).rejects.toMatchObject(missing);
    await store.create("b.json", "{}");
    await expect(firstByte(store, NAME)).rejects.toMatchObject(missing);
  });

  add("a range beyond the end of a file is corrupt, and other ranges can still be read", async () => {
    const { content, ranges } = await uploaded();
    const corrupt = { code: "CHECKPOINT_CORRUPT" };
    for (const [start, end] of [
      [BYTES - 1, BYTES + 1],
      [BYTES, BYTES + 1],
      [BYTES + 10, BYTES + 20],
      [0, 2 ** 45],
    ] as const) {
      await expect(ranges.read(start, end)).rejects.toMatchObject(corrupt);
    }
    expect((await ranges.read(7, 77)).equals(content.subarray(7, 77))).toBe(true);
    await ranges.close();
    const store = await opened();
    await upload(store, Buffer.alloc(0));
    await expect(firstByte(store, NAME)).rejects.toMatchObject(corrupt);
  });

  add("all ranges are of one version of a file that is replaced", async () => {
    const { store, content, ranges } = await uploaded();
    await ranges.read(0, 1);
    const writer = await other(store);
    const replaced = writer.remove(NAME).then(() => upload(writer, randomBytes(BYTES)));
    const ended = vi.fn<() => void>();
    replaced.then(ended, ended);
    const during = ["same", "NOT_FOUND", "CHECKPOINT_CORRUPT"];
    while (ended.mock.calls.length === 0) {
      expect(during).toContain(await compared(ranges, content));
      // A store in memory responds without giving way to the upload.
      await new Promise(setImmediate);
    }
    await replaced;
    expect(["same", "CHECKPOINT_CORRUPT"]).toContain(await compared(ranges, content));
    await ranges.close();
  });

  add("a range of a removed file is still the same, or NOT_FOUND", async () => {
    const { store, content, ranges } = await uploaded();
    await ranges.read(0, 1);
    await (await other(store)).remove(NAME);
    expect(["same", "NOT_FOUND"]).toContain(await compared(ranges, content));
    await ranges.close();
  });

  add("an aborted read of a range throws the signal's reason, and others continue", async () => {
    const { content, ranges } = await uploaded();
    const stop = new AbortController();
    const [aborted, whole] = [ranges.read(0, BYTES, stop.signal), ranges.read(0, BYTES)];
    stop.abort(new Error("enough"));
    // A store that responds immediately may be faster than the signal.
    const outcome = await aborted.then(
      (bytes) => bytes.equals(content),
      (error: Error) => error.message,
    );
    expect([true, "enough"]).toContain(outcome);
    expect((await whole).equals(content)).toBe(true);
    await expect(ranges.read(0, 1, stop.signal)).rejects.toThrow("enough");
    expect((await ranges.read(0, 1)).equals(content.subarray(0, 1))).toBe(true);
    await ranges.close();
  });

  add("ranges that are closed do not affect others of the same file", async () => {
    const { store, content, ranges } = await uploaded();
    const others = await openRanges(store, NAME);
    await ranges.close();
    expect((await others.read(0, BYTES)).equals(content)).toBe(true);
    await others.close();
  });

  return cases;
}

/** Opens a file and reads its first byte, after which every store knows whether the file exists. */
export async function firstByte(store: CheckpointStore, name: string): Promise<Buffer> {
  const ranges = await openRanges(store, name);
  try {
    return await ranges.read(0, 1);
  } finally {
    await ranges.close();
  }
}

async function openRanges(store: CheckpointStore, name: string): Promise<StoredRanges> {
  const ranges = await store.openRanges?.(name);
  if (ranges === undefined) throw new Error("The store has no openRanges.");
  return ranges;
}

async function upload(store: CheckpointStore, content: Buffer): Promise<void> {
  await store.upload(NAME, Readable.from([content], { objectMode: false }));
}

/** Reads a range. Returns how it compares with the content, or the code of the error. */
async function compared(ranges: StoredRanges, content: Buffer): Promise<string> {
  const [start, end] = [BYTES / 3, BYTES / 2];
  return await ranges.read(start, end).then(
    (bytes) => (bytes.equals(content.subarray(start, end)) ? "same" : "different"),
    (error: { readonly code?: string }) => String(error.code),
  );
}
