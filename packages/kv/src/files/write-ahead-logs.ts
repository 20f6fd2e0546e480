import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type CairnError, indexCorrupt } from "../errors/errors.ts";
import { levelFileName, levelFileNumbers } from "./level-files.ts";
import { readCurrentManifest } from "./current-manifest.ts";
import { type LevelManifest, needsLog } from "./level-manifest.ts";
import { recordsOf } from "./level-records.ts";
import { BatchOrder } from "./write-batch.ts";

/**
 * Checks that the write-ahead logs of the closed LevelDB database in `dir` contain the batches without a gap. LevelDB
 * itself ignores damage in its logs: after a power loss, it opens without an error and lacks the batches of a page that
 * was never written, although it has later ones. A tail that is missing or was never written is not damage, because a
 * prefix remains. If there is damage, throws `INDEX_CORRUPT` with the name of the log and the offset. Returns the end of
 * each log that contains a batch, oldest first.
 */
export async function checkWriteAheadLogs(dir: string): Promise<readonly LogEnd[]> {
  const manifest = await readCurrentManifest(dir);
  const names = await neededLogs(dir, manifest);
  const ends: LogEnd[] = [];
  const order = new BatchOrder(manifest.lastSequence);
  for (const name of names) {
    let last: Uint8Array | undefined;
    // The size is bounded by LevelDB's write buffer and one batch.
    await readLog(await readFile(join(dir, name)), order, {
      isLast: name === names.at(-1),
      damaged: (at) => `The index in ${dir} is damaged near byte ${at} of the write-ahead log ${name}.`,
      onChange: ({ key }) => void (last = key),
    });
    // The key is copied, because it is a part of the whole log.
    if (last !== undefined) ends.push({ name, key: Uint8Array.from(last), sequence: order.last ?? 0 });
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

/** The number of bytes that are decoded at once, which takes about ten milliseconds. */
const SLICE_BYTES = 512 * 1024;

/**
 * Passes the changes of a write-ahead log to `onChange`. Throws `INDEX_CORRUPT` with what `damaged` returns if its
 * batches do not follow one another, and those of the logs before it. The newest log may end in a record that was never
 * written completely.
 */
export async function readLog(
  content: Buffer,
  order: BatchOrder,
  log: {
    readonly isLast: boolean;
    readonly damaged: (at: number) => string;
    readonly onChange: Parameters<BatchOrder["accept"]>[1];
  },
): Promise<void> {
  const { records, end, problem } = recordsOf(content);
  const damage = (at: number, cause?: unknown): CairnError => indexCorrupt(log.damaged(at), cause);
  let slice = 0;
  for (const { payload, end: at } of records) {
    if (!order.accept(payload, log.onChange)) throw damage(at);
    slice += payload.length;
    if (slice < SLICE_BYTES) continue;
    slice = 0;
    await setImmediate();
  }
  // Before the power failed, the file of the newest log had been extended but its content had not been written, so the
  // file system returns zeros.
  const isUnwritten = (): boolean => log.isLast && content.subarray(end).every((byte) => byte === 0);
  if (problem !== undefined && !isUnwritten()) throw damage(end, problem);
  // LevelDB starts a log only after the previous one is complete: only the last may end in an incomplete record.
  if (!log.isLast && end < content.length) throw damage(end);
}
