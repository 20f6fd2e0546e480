import { open, readdir, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, isCairnError } from "../errors/errors.ts";
import { levelFileName, levelFileNumbers } from "./level-files.ts";
import { readCurrentManifest } from "./current-manifest.ts";
import { needsLog } from "./level-manifest.ts";
import { LEVEL_BLOCK_SIZE, LevelRecordReader } from "./level-records.ts";
import { BATCH_HEADER_SIZE, countChanges } from "./write-batch.ts";

/**
 * Checks that the write-ahead logs of the closed LevelDB in `dir` hold the batches without a gap, up to where they end.
 * LevelDB itself passes over damage there: after a power loss it opens without an error and without the batches of a
 * page that was never written, though it has later ones. A tail that is missing or was never written is no damage,
 * since what remains is a prefix. `INDEX_CORRUPT` says which log is damaged, and where. Answers the sequence number that the next batch
 * gets, undefined where the logs hold none.
 */
export async function checkWriteAheadLogs(dir: string): Promise<number | undefined> {
  const { manifest } = await readCurrentManifest(dir);
  const names: string[] = [];
  for (const log of levelFileNumbers(await readdir(dir), "log")) {
    const name = levelFileName(log, "log");
    // Opening makes an empty log before it has taken over the ones before, and may have been interrupted there.
    if (needsLog(manifest, log) && (await stat(join(dir, name))).size > 0) names.push(name);
  }
  // The sequence number that the next batch must have, over all logs; undefined until one was read.
  let next: number | undefined;
  for (const name of names) {
    const log = new WriteAheadLog(dir, name, name === names.at(-1));
    // Rows of this log may be flushed already and counted in the manifest, so only an upper bound is known at first.
    const from = { least: next ?? 0, most: next ?? manifest.lastSequence + 1 };
    next = (await log.check(from)) ?? next;
  }
  return next;
}

class WriteAheadLog {
  readonly #dir: string;
  readonly #name: string;
  readonly #last: boolean;
  readonly #reader = new LevelRecordReader();

  constructor(dir: string, name: string, last: boolean) {
    this.#dir = dir;
    this.#name = name;
    this.#last = last;
  }

  /** Checks that the first batch begins within the bounds; answers the sequence number after the last one, if any. */
  async check(from: { readonly least: number; readonly most: number }): Promise<number | undefined> {
    const file = await open(join(this.#dir, this.#name));
    try {
      const { size } = await file.stat();
      let next: number | undefined;
      for await (const batch of this.#batches(file, size)) {
        if (batch.length < BATCH_HEADER_SIZE) throw this.#damaged();
        const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
        const sequence = Number(view.getBigUint64(0, true));
        if (sequence < (next ?? from.least) || sequence > (next ?? from.most)) throw this.#damaged();
        const count = view.getUint32(8, true);
        // A page of a large batch that is missing, or holds another one's bytes, leaves fragments that are right, each for itself.
        if (countChanges(batch) !== count) throw this.#damaged();
        next = sequence + count;
      }
      // LevelDB begins a log only after the one before is complete: half a record is no tail but at the very end.
      if (!this.#last && this.#reader.end < size) throw this.#damaged();
      return next;
    } finally {
      await file.close();
    }
  }

  async *#batches(file: FileHandle, size: number): AsyncGenerator<Uint8Array, void, undefined> {
    const block = Buffer.alloc(LEVEL_BLOCK_SIZE);
    try {
      for (let start = 0; start < size; start += LEVEL_BLOCK_SIZE) {
        const { bytesRead } = await file.read(block, 0, LEVEL_BLOCK_SIZE, start);
        yield* this.#reader.read(block.subarray(0, bytesRead));
      }
    } catch (error) {
      if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
      // The file had been made longer, but what was to be in it not written, when the power went: the file system gives zeros.
      if (!this.#last || !(await isZero(file, this.#reader.end, size))) throw this.#damaged(error);
    }
  }

  #damaged(cause?: unknown): CairnError {
    const where = `byte ${this.#reader.end} of the write-ahead log ${this.#name}`;
    return new CairnError("INDEX_CORRUPT", `The index in ${this.#dir} is damaged about ${where}.`, {
      hint: "Restore it from a checkpoint; the transaction log has everything that is in it.",
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

async function isZero(file: FileHandle, start: number, end: number): Promise<boolean> {
  const block = Buffer.alloc(LEVEL_BLOCK_SIZE);
  for (let position = start; position < end; position += LEVEL_BLOCK_SIZE) {
    const { bytesRead } = await file.read(block, 0, LEVEL_BLOCK_SIZE, position);
    if (block.subarray(0, bytesRead).some((byte) => byte !== 0)) return false;
  }
  return true;
}
