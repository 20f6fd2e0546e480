import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cutParts, PartMemory, partSizes } from "../src/s3-parts.ts";

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;

/** Returns the number of parts for `bytes`. The result 10,001 stands for too many. */
function partsOf(bytes: number, sizeOf: (number: number) => number): number {
  let rest = bytes;
  for (let number = 1; number <= 10_000; number++) {
    rest -= sizeOf(number);
    if (rest <= 0) return number;
  }
  return 10_001;
}

test("any archive up to 5 TiB fits in 10,000 parts of equal size, if its size is known", () => {
  const sizes = fc.integer({ min: 1, max: 5 * TIB });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 5, max: 64 }), (bytes, least) => {
      const sizeOf = partSizes(least * MIB, bytes);
      const parts = partsOf(bytes, sizeOf);
      expect(parts).toBeLessThanOrEqual(10_000);
      expect(new Set([1, Math.ceil(parts / 2), parts].map(sizeOf)).size).toBe(1);
      expect(sizeOf(1)).toBeGreaterThanOrEqual(least * MIB);
    }),
  );
});

test("an archive of 5 TiB fits in 10,000 parts even if its size is unknown, and the first parts are small", () => {
  for (const least of [5, 8, 64]) {
    const sizeOf = partSizes(least * MIB);
    expect(sizeOf(1)).toBe(least * MIB);
    expect(partsOf(5 * TIB, sizeOf)).toBeLessThanOrEqual(10_000);
  }
});

test("an archive that is much larger than expected still fits", () => {
  expect(partsOf(5 * TIB, partSizes(8 * MIB, 20 * 1024 * MIB))).toBeLessThanOrEqual(10_000);
});

test("content is split into full parts and a remainder, whatever its chunks", async () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 25 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(pieces, async (lengths) => {
      const content = lengths.map((length, at) => Buffer.alloc(length, at + 1));
      const memory = new PartMemory(1);
      const cut: Buffer[] = [];
      const lasts: boolean[] = [];
      for await (const { number, body, last } of cutParts(Readable.from(content), () => 10, memory)) {
        expect(number).toBe(cut.length + 1);
        cut.push(Buffer.from(body));
        lasts.push(last);
        memory.put(body);
      }
      expect(Buffer.concat(cut).equals(Buffer.concat(content))).toBe(true);
      expect(cut.slice(0, -1).every((part) => part.length === 10)).toBe(true);
      expect(lasts).toEqual([...cut.slice(1).map(() => false), true]);
      expect(cut.length).toBe(Math.max(1, Math.ceil(Buffer.concat(content).length / 10)));
    }),
  );
});

test("no more buffers are handed out than allowed, and additional callers wait", async () => {
  const memory = new PartMemory(2);
  const first = await memory.take();
  await memory.take();
  let third: Buffer | undefined;
  const waiting = memory.take().then((buffer) => (third = buffer));
  await new Promise((resolve) => setImmediate(resolve));
  expect(third).toBeUndefined();
  memory.put(first);
  await waiting;
  expect(third).toBe(first);
});
