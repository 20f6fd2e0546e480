import type { Readable } from "node:stream";

/** A piece of an upload; `body` is good until it is given back. */
export interface Part {
  /** From 1. */
  readonly number: number;
  readonly body: Buffer;
  /** Whether nothing follows. */
  readonly last: boolean;
}

const MIB = 1024 * 1024;
/** S3 takes no more parts than this (Amazon S3 multipart upload limits). */
const MOST_PARTS = 10_000;
/** The largest buffer that Node 20 makes is no smaller. */
const LARGEST_PART = 4096 * MIB - MIB;
/** Parts of equal size, which some services ask for; the rest is for content that is larger than was said. */
const EQUAL_PARTS = 8_000;

/**
 * How large each part is. All that `expectedBytes` needs are of one size; then they double again and again, so that without any
 * expectation 5 TiB fit into 10,000.
 */
export function partSizes(least: number, expectedBytes = 0): (number: number) => number {
  const needed = Math.ceil(expectedBytes / EQUAL_PARTS / MIB) * MIB;
  const first = Math.min(LARGEST_PART, Math.max(least, needed));
  const equal = Math.ceil(expectedBytes / first);
  // Eleven sizes, each twice the one before: even from the least, 909 × 5 MiB × 2,047, there is room for S3's largest object, 5 TiB.
  const step = Math.max(1, Math.floor((MOST_PARTS - equal) / 11));
  return (number) => {
    const doublings = Math.floor(Math.max(0, number - 1 - equal) / step);
    return Math.min(LARGEST_PART, first * 2 ** doublings);
  };
}

/** Buffers that are used again and again, `count` at most. */
export interface PartMemory {
  /** Waits until one is free. */
  take(bytes: number): Promise<Buffer>;
  giveBack(memory: Buffer): void;
}

/** Makes a memory of at most `count` buffers; none is made before it is needed. */
export function partMemory(count: number): PartMemory {
  const free: Buffer[] = [];
  const waiting: (() => void)[] = [];
  let left = count;
  return {
    async take(bytes) {
      // Who gives one back to somebody who waits does not count it as left.
      if (left > 0) left -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      const known = free.pop();
      return known?.length === bytes ? known : Buffer.allocUnsafeSlow(bytes);
    },
    giveBack(memory) {
      free.push(memory);
      const next = waiting.shift();
      if (next === undefined) left += 1;
      else next();
    },
  };
}

/** Cuts content into parts. The last has `last`, and is the only one that may be empty or short. */
export async function* cutParts(
  content: Readable,
  sizeOf: (number: number) => number,
  memory: PartMemory,
): AsyncGenerator<Part, void, undefined> {
  let number = 1;
  let body = await memory.take(sizeOf(number));
  let filled = 0;
  for await (const chunk of content) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    while (rest.length > 0) {
      // Only when something follows: else the last part would be an empty one.
      if (filled === body.length) {
        yield { number, body, last: false };
        number += 1;
        body = await memory.take(sizeOf(number));
        filled = 0;
      }
      const copied = rest.copy(body, filled);
      filled += copied;
      rest = rest.subarray(copied);
    }
  }
  yield { number, body: body.subarray(0, filled), last: true };
}
