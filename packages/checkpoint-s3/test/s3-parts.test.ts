import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cutParts, partBytes, PartMemory } from "../src/s3-parts.ts";

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;

test("any archive up to 5 TiB fits in 10,000 parts of equal size, even if it is a fifth larger than expected", () => {
  const sizes = fc.integer({ min: 1, max: 5 * TIB });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 5, max: 64 }), (bytes, least) => {
      const size = partBytes(least * MIB, bytes);
      expect(Math.ceil((1.2 * bytes) / size)).toBeLessThanOrEqual(10_000);
      expect(size).toBeGreaterThanOrEqual(least * MIB);
    }),
  );
});

test("content is split into full parts and a remainder, whatever its chunks", async () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 25 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(pieces, async (lengths) => {
      const content = lengths.map((length, at) => Buffer.alloc(length, at + 1));
      const memory = new PartMemory(1);
      const cut: Buffer[] = [];
      const lasts: boolean[] = [];
      for await (const { number, body, last } of cutParts(Readable.from(content), 10, memory)) {
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
