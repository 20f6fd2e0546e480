import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type CairnError, indexCorrupt, isCairnError } from "../errors/errors.ts";
import { levelFileName, levelFileNumbers } from "./level-files.ts";
import { readCurrentManifest } from "./current-manifest.ts";
import { type LevelManifest, needsLog } from "./level-manifest.ts";
import { BLOCK_BYTES, LevelRecordReader, recordsInFile } from "./level-records.ts";
import { BatchOrder } from "./write-batch.ts";

/**
 * Checks that the write-ahead logs of the closed LevelDB database in `dir` contain the batches without a gap. LevelDB
 * itself ignores damage in its logs: after a power loss, it opens without an error and lacks the batches of a page that
 * was never written, although it has later ones. A tail that is missing or was never written is not damage, because a
 * prefix remains. If there is damage, throws `INDEX_CORRUPT` with the name of the log and the offset. Returns the end of
 * each log that contains a batch, oldest first.
 */
export async function checkWriteAheadLogs(dir: string): Promise<readonly LogEnd[]> {
  const { manifest } = await readCurrentManifest(dir);
  const names = await neededLogs(dir, manifest);
  const ends: LogEnd[] = [];
  const order = new BatchOrder(manifest.lastSequence);
  for (const name of names) {
    const key = await checkLog(dir, name, name === names.at(-1), order);
    if (key !== undefined) ends.push({ name, key, sequence: order.last ?? 0 });
  }
  return ends;
}

/** The last change in a write-ahead log. */
export interface LogEnd {
  readonly name: string;
  readonly key: Uint8Array;
  readonly sequence: number;
}

/** Returns the names of the write-ahead logs that LevelDB reads when it opens the database in `dir`, oldest first. */
export async function neededLogs(dir: string, manifest: LevelManifest): Promise<string[]> {
  const names: string[] = [];
  for (const log of levelFileNumbers(await readdir(dir), "log")) {
    const name = levelFileName(log, "log");
    // When LevelDB opens a database, it creates an empty log before it has recovered the earlier ones, and may have
    // been interrupted at that point.
    if (needsLog(manifest, log) && (await stat(join(dir, name))).size > 0) names.push(name);
  }
  return names;
}

/** Returns the key of the log's last change, if any. */
async function checkLog(
  dir: string,
  name: string,
  isLast: boolean,
  order: BatchOrder,
): Promise<Uint8Array | undefined> {
  const reader = new LevelRecordReader();
  const damaged = (cause?: unknown): CairnError => {
    const where = `byte ${reader.end} of the write-ahead log ${name}`;
    return indexCorrupt(`The index in ${dir} is damaged near ${where}.`, cause);
  };
  const file = await open(join(dir, name));
  try {
    const { size } = await file.stat();
    const batches = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        yield* recordsInFile(file, reader);
      } catch (error) {
        if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
        // Before the power failed, the file had been extended but its content had not been written, so the file system
        // returns zeros.
        if (!isLast || !(await isZero(file, reader.end, size))) throw damaged(error);
      }
    };
    let lastKey: Uint8Array | undefined;
    for await (const batch of batches()) {
      let last: Uint8Array | undefined;
      if (!order.accept(batch, ({ key }) => void (last = key))) throw damaged();
      // The batch is valid only until the next one is read.
      if (last !== undefined) lastKey = Uint8Array.from(last);
    }
    // LevelDB starts a log only after the previous one is complete: only the last may end in an incomplete record.
    if (!isLast && reader.end < size) throw damaged();
    return lastKey;
  } finally {
    await file.close();
  }
}

async function isZero(file: FileHandle, start: number, end: number): Promise<boolean> {
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let position = start; position < end; position += BLOCK_BYTES) {
    const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, position);
    if (block.subarray(0, bytesRead).some((byte) => byte !== 0)) return false;
  }
  return true;
}
