import { readSync } from "node:fs";

/** The bytes of an archive, in order. */
export interface ArchiveSource {
  /** Fills `target` and answers with how many bytes it got: fewer than it has room for only at the end. */
  fill(target: Buffer): Promise<number>;
}

/** The bytes of the open file `file`, from its beginning. Reads without giving way to anything else. */
export function fileSource(file: number): ArchiveSource {
  let position = 0;
  return {
    fill(target) {
      let at = 0;
      while (at < target.length) {
        const bytesRead = readSync(file, target, at, target.length - at, position);
        if (bytesRead === 0) break;
        at += bytesRead;
        position += bytesRead;
      }
      return Promise.resolve(at);
    },
  };
}

/** The bytes of chunks, of which it holds one. */
export function chunkSource(chunks: AsyncIterable<Uint8Array>): ArchiveSource {
  const iterator = chunks[Symbol.asyncIterator]();
  let held: Uint8Array = new Uint8Array(0);
  return {
    async fill(target) {
      let at = 0;
      while (at < target.length) {
        if (held.length === 0) {
          const next = await iterator.next();
          if (next.done === true) break;
          held = next.value;
        }
        const taken = held.subarray(0, target.length - at);
        target.set(taken, at);
        at += taken.length;
        held = held.subarray(taken.length);
      }
      return at;
    },
  };
}
