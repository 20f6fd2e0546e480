import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { digestWhole, WHOLE_FILE_LIMIT } from "./file-digest.ts";

/** How many files are written and flushed at once: a flush is mostly waiting. */
const IN_FLIGHT = 4;

/** Writes the files of an archive, several at a time, while the next ones stream in. */
export interface FileWriter {
  /** Takes `bytes` from `next` and writes them durably to a new file; `check` hears the SHA-256 and throws if it is wrong. */
  write(
    name: string,
    bytes: number,
    next: (count: number) => Promise<Buffer>,
    check: (sha256: string) => void,
  ): Promise<void>;
  /** Waits for all of them; throws what made one fail. */
  finish(): Promise<void>;
}

/** A writer into `dir`. After an error, `finish` must still be awaited: until then files may be open. */
export function fileWriter(dir: string): FileWriter {
  const running = new Set<Promise<void>>();
  const free: Buffer<ArrayBuffer>[] = [];
  let failure: { error: unknown } | undefined;
  const begin = (work: Promise<void>): void => {
    const one = work
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => running.delete(one));
    running.add(one);
  };
  const rethrow = (): void => {
    if (failure !== undefined) throw failure.error;
  };

  return {
    async write(name, bytes, next, check) {
      while (running.size >= IN_FLIGHT) await Promise.race(running);
      rethrow();
      const path = join(dir, name);
      if (bytes > WHOLE_FILE_LIMIT) {
        await writePieces(path, bytes, next, check);
        return;
      }
      // Used again and again: garbage of this size is collected late.
      const held = free.pop() ?? Buffer.allocUnsafeSlow(WHOLE_FILE_LIMIT);
      const content = held.subarray(0, bytes);
      for (let at = 0; at < bytes;) at += (await next(bytes - at)).copy(content, at);
      begin(writeWhole(path, content, check).finally(() => free.push(held)));
    },
    async finish() {
      await Promise.all(running);
      rethrow();
    },
  };
}

async function writeWhole(
  path: string,
  content: Buffer<ArrayBuffer>,
  check: (sha256: string) => void,
): Promise<void> {
  const handle = await open(path, "wx");
  try {
    const [sha256] = await Promise.all([digestWhole(content), writeAll(handle, content)]);
    check(sha256);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writePieces(
  path: string,
  bytes: number,
  next: (count: number) => Promise<Buffer>,
  check: (sha256: string) => void,
): Promise<void> {
  const handle = await open(path, "wx");
  const digest = createHash("sha256");
  let writing: Promise<void> = Promise.resolve();
  try {
    for (let left = bytes; left > 0;) {
      const piece = await next(left);
      left -= piece.length;
      await writing;
      writing = writeAll(handle, piece);
      // Hashed while the disk is busy with the same bytes.
      digest.update(piece);
    }
    await writing;
    check(digest.digest("hex"));
    await handle.sync();
  } finally {
    // Only so that nothing writes to a closed file: an error of it is thrown above, or comes after another.
    await writing.catch(() => undefined);
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, content: Buffer): Promise<void> {
  for (let at = 0; at < content.length;) {
    at += (await handle.write(content, at, content.length - at)).bytesWritten;
  }
}
