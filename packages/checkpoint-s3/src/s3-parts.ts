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
/** Of the 10,000 parts that S3 allows, the others are for content that is larger than expected. */
const EXPECTED_PARTS = 8_000;

/** Returns the size of each part: they have equal sizes, as some services require. */
export function partBytes(least: number, expectedBytes = 0): number {
  return Math.max(least, Math.ceil(expectedBytes / EXPECTED_PARTS / MIB) * MIB);
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
  bytes: number,
  memory: PartMemory,
): AsyncGenerator<Part, void, undefined> {
  const nextBody = async (): Promise<Buffer> => {
    const taken = await memory.take();
    return taken.length === bytes ? taken : Buffer.allocUnsafeSlow(bytes);
  };
  let number = 1;
  let body = await nextBody();
  let filled = 0;
  for await (const chunk of content) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    while (rest.length > 0) {
      // A full part is passed on only when more content follows, because the last part could otherwise be empty.
      if (filled === body.length) {
        yield { number, body, last: false };
        number += 1;
        body = await nextBody();
        filled = 0;
      }
      const copied = rest.copy(body, filled);
      filled += copied;
      rest = rest.subarray(copied);
    }
  }
  yield { number, body: body.subarray(0, filled), last: true };
}
