import type { Readable } from "node:stream";

const MAX_DRAINED_BYTES = 64 * 1024 * 1024;

/**
 * Reads and forgets what is left of a body that was answered before its end. A connection closed over unread bytes is reset,
 * and its client sees that instead of the answer. Whoever sends without end is cut off all the same.
 */
export function drainBody(body: Readable): void {
  let left = MAX_DRAINED_BYTES;
  body.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) body.destroy();
  });
  body.resume();
}
