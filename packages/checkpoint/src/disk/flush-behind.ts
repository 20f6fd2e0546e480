import { fdatasync } from "node:fs";
import { promisify } from "node:util";

/** Flushes a file while it is being written. */
export interface FlushBehind {
  /** So many more bytes were written. */
  written(bytes: number): void;
  /** Waits for the flush under way; throws when one failed: what it should have flushed may be lost, whatever a later one says. */
  settled(): Promise<void>;
}

/** More would only queue up in front of whoever else wants the disk, less would wait for it too often. */
const FLUSH_BYTES = 16 * 1024 * 1024;

const flush = promisify(fdatasync);

/** Keeps the disk busy while the file of the descriptor `file` grows, so that flushing it at its end takes next to nothing. */
export function flushBehind(file: number): FlushBehind {
  let unflushed = 0;
  let running: Promise<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  return {
    written(bytes) {
      unflushed += bytes;
      if (unflushed < FLUSH_BYTES || running !== undefined) return;
      unflushed = 0;
      running = flush(file)
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => {
          running = undefined;
        });
    },
    async settled() {
      await running;
      if (failure !== undefined) throw failure.error;
    },
  };
}
