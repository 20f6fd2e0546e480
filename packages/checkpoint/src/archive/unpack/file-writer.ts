import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { close, fsync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

/** A piece of a file's content, at the beginning of `memory`. */
export interface FilePiece {
  readonly name: string;
  readonly memory: ArrayBuffer;
  readonly bytes: number;
  /** Whether the file begins with it, and whether it ends with it; both for a small file, or an empty one. */
  readonly first: boolean;
  readonly last: boolean;
}

/** Writes files piece by piece, one file after the other. */
export interface FileWriter {
  /** The memory is the caller's again afterwards. */
  write(piece: FilePiece): Promise<void>;
  /** Waits until all would survive a power loss; throws what made one fail. */
  end(): Promise<void>;
}

/** How many files are flushed at once: a flush is mostly waiting. */
const IN_FLIGHT = 8;

const flush = promisify(fsync);
const closeFile = promisify(close);

/**
 * Writes new files in `dir`, and flushes each while the next ones are written; `check` hears the SHA-256 of each and throws if it
 * is wrong. Writes without giving way to anything else.
 */
export function fileWriter(dir: string, check: (name: string, sha256: string) => void): FileWriter {
  const running = new Set<Promise<void>>();
  // The first that a flush in the background met: thrown by the next `begin`, or at the end.
  let failure: { readonly error: unknown } | undefined;
  let current: { readonly file: number; readonly digest: Hash } | undefined;

  /** Closes as well: a file is open until it was flushed. */
  function finish(file: number, whole: boolean): void {
    const work = whole ? flush(file).finally(() => closeFile(file)) : closeFile(file);
    const one = work
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => running.delete(one));
    running.add(one);
  }

  async function begin(name: string): Promise<{ file: number; digest: Hash }> {
    while (running.size >= IN_FLIGHT) await Promise.race(running);
    if (failure !== undefined) throw failure.error;
    return { file: openSync(join(dir, name), "wx"), digest: createHash("sha256") };
  }

  return {
    async write({ name, memory, bytes, first, last }) {
      if (first) current = await begin(name);
      if (current === undefined) throw new Error(`${name} has no beginning`);
      const { file, digest } = current;
      const content = Buffer.from(memory, 0, bytes);
      digest.update(content);
      for (let at = 0; at < bytes;) at += writeSync(file, content, at);
      if (!last) return;
      check(name, digest.digest("hex"));
      current = undefined;
      finish(file, true);
    },
    async end() {
      // Only open still when something failed.
      if (current !== undefined) finish(current.file, false);
      current = undefined;
      while (running.size > 0) await Promise.race(running);
      if (failure !== undefined) throw failure.error;
    },
  };
}
