import type { Readable } from "node:stream";
import { Inbox } from "@cairn/kv/threads";

/** A part of an upload. Its `body` is valid until it is returned to the pool. */
export interface Part {
  readonly number: number;
  readonly body: Buffer;
  readonly last: boolean;
}

/** The minimum size of a part in S3, except for the last one. */
export const MIN_PART_BYTES = 5 * 1024 * 1024;

/** The default size of a part. With four in flight and one being filled, parts take 40 MiB of memory. */
export const DEFAULT_PART_BYTES = 8 * 1024 * 1024;

const MIB = 1024 * 1024;
/** The maximum number of parts in S3 (Amazon S3 multipart upload limits). */
const MAX_PARTS = 10_000;
/** The maximum size of a part for which Node 20 can still allocate a buffer. */
const MAX_PART_BYTES = 4096 * MIB - MIB;
/** So many parts have the same size, as some services require. The others are for content larger than expected. */
const EQUAL_PARTS = 8_000;

/**
 * Returns the size of each part. The parts for `expectedBytes` have equal sizes. After them, the size doubles
 * repeatedly, so that 5 TiB fit into 10,000 parts even if the size is unknown.
 */
export function partSizes(least: number, expectedBytes = 0): (number: number) => number {
  const needed = Math.ceil(expectedBytes / EQUAL_PARTS / MIB) * MIB;
  const first = Math.min(MAX_PART_BYTES, Math.max(least, needed));
  const equal = Math.ceil(expectedBytes / first);
  // Eleven sizes, each twice the previous one: 909 × 5 MiB × 2,047 exceeds S3's largest object, 5 TiB.
  const step = Math.max(1, Math.floor((MAX_PARTS - equal) / 11));
  return (number) => {
    const doublings = Math.floor(Math.max(0, number - 1 - equal) / step);
    return Math.min(MAX_PART_BYTES, first * 2 ** doublings);
  };
}

/** A pool of buffers, none of which is allocated before it is needed: at first, they are empty. */
export class PartMemory extends Inbox<Buffer> {
  constructor(count: number) {
    super(Array.from({ length: count }, () => Buffer.alloc(0)));
  }
}

/** Splits content into parts. Only the last one may be empty or short. */
export async function* cutParts(
  content: Readable,
  sizeOf: (number: number) => number,
  memory: PartMemory,
): AsyncGenerator<Part, void, undefined> {
  const bodyOf = async (part: number): Promise<Buffer> => {
    const [taken, bytes] = [await memory.take(), sizeOf(part)];
    return taken.length === bytes ? taken : Buffer.allocUnsafeSlow(bytes);
  };
  let number = 1;
  let body = await bodyOf(number);
  let filled = 0;
  for await (const chunk of content) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    while (rest.length > 0) {
      // A full part is passed on only when more content follows, because the last part could otherwise be empty.
      if (filled === body.length) {
        yield { number, body, last: false };
        number += 1;
        body = await bodyOf(number);
        filled = 0;
      }
      const copied = rest.copy(body, filled);
      filled += copied;
      rest = rest.subarray(copied);
    }
  }
  yield { number, body: body.subarray(0, filled), last: true };
}
