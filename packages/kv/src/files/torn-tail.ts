import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { indexCorrupt, isCairnError } from "../errors/errors.ts";
import { crc32c, unmaskCrc } from "./crc32c.ts";
import { currentManifestPath } from "./current-manifest.ts";
import { levelFileName, levelFileNumbers } from "./level-files.ts";
import { decodeLevelManifest, type LevelManifest } from "./level-manifest.ts";
import {
  BLOCK_BYTES,
  FIRST,
  FULL,
  HEADER_BYTES,
  recordBegin,
  recordEnd,
  recordsOf,
} from "./level-records.ts";

/** The unit that a disk writes atomically, in bytes. A page of a file system contains several sectors. */
const SECTOR_BYTES = 512;
/** The unit that a file system writes to the disk, in bytes. */
const PAGE_BYTES = 4_096;

/** The mark in the last bytes of each batch. It shows where the batch begins. */
export interface BatchEnding {
  readonly bytes: number;
  /** Returns the size in bytes of the batch that ends with `ending`; undefined if `ending` is not such a mark. */
  batchBytes(ending: Uint8Array): number | undefined;
}

/** An incomplete record at the end of a write-ahead log or manifest: the bytes from `start` up to `end`. */
export interface TornTail {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  /** The batch's ending, if it reached the disk. */
  readonly ending: Uint8Array | undefined;
}

/**
 * Finds the batch that was being written to the closed LevelDB database in `dir` when the power failed or the process
 * died. Every batch must have been synced, and must end with `ending`. A record is then written only after the previous
 * one was synced, so only the last record of the newest log can be incomplete, and it was never acknowledged. Throws
 * `INDEX_CORRUPT` if the bytes cannot be explained in this way. The pages of a file reach the disk in any order.
 * Missing pages are read as zeros, or are beyond the end of the file.
 *
 * This is for logs that must not lose any batch. LevelDB itself drops an incomplete record of an index's newest log, as
 * write-ahead-logs.ts allows.
 */
export async function findTornTail(dir: string, ending: BatchEnding): Promise<TornTail | undefined> {
  for (const number of levelFileNumbers(await readdir(dir), "log").toReversed()) {
    const path = join(dir, levelFileName(number, "log"));
    // The size is bounded by LevelDB's write buffer and one batch.
    const bytes = await readFile(path);
    // When LevelDB opens a database, it creates an empty log before it has recovered the earlier ones.
    if (bytes.length > 0) return tailOf(path, bytes, ending);
  }
  return undefined;
}

function tailOf(path: string, bytes: Buffer, ending: BatchEnding): TornTail | undefined {
  const { end: start, problem } = recordsOf(bytes);
  if (start === bytes.length) return undefined;
  const begin = recordBegin(start);
  const found = bytes.length < begin + HEADER_BYTES + ending.bytes ? undefined : endingOf(bytes, ending);
  const tail: TornTail = { path, start, end: bytes.length, ending: found?.bytes };
  if (bytes.subarray(start).every((byte) => byte === 0)) return tail;
  if (recordBehind(bytes, begin) === undefined) {
    const isAlone = found === undefined || recordEnd(start, found.batchBytes) === bytes.length;
    // A batch that has both ends and no gap between them was written completely, and was changed later.
    const isCutOff = found === undefined && problem === undefined;
    if (isAlone && (isCutOff || lacksSectors(bytes, begin))) return tail;
  }
  const message = `The write-ahead log ${path} is damaged at byte ${start}.`;
  throw indexCorrupt(message, problem, "Restore the folder from a copy of it.");
}

/**
 * Finds the manifest entry that was being written to the closed LevelDB database in `dir` when the power failed, if the
 * entry or a table that it names did not reach the disk; undefined if there is no such entry. LevelDB flushes the names
 * of the tables, then flushes the entry, and only then removes the files that the entry replaces. If all of these files
 * still exist, nothing is lost without the entry.
 */
export async function findTornEdit(dir: string): Promise<TornTail | undefined> {
  const path = await currentManifestPath(dir);
  const bytes = await readFile(path);
  const { records, end, problem } = recordsOf(bytes);
  const names = new Set(await readdir(dir));
  let start = end;
  if (problem === undefined) {
    // LevelDB also ignores a record cut off by the end of the file.
    if (hasTables(manifestIn(bytes), names)) return undefined;
    start = records.at(-2)?.end ?? 0;
  } else if (recordBehind(bytes, recordBegin(end)) !== undefined || !lacksSectors(bytes, recordBegin(end)))
    return undefined;
  const before = manifestIn(bytes.subarray(0, start));
  const isComplete = hasTables(before, names) && names.has(levelFileName(before?.logNumber ?? 0, "log"));
  return isComplete ? { path, start, end: bytes.length, ending: undefined } : undefined;
}

function manifestIn(bytes: Buffer): LevelManifest | undefined {
  try {
    return decodeLevelManifest(bytes);
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT")) return undefined;
    throw error;
  }
}

function hasTables(manifest: LevelManifest | undefined, names: ReadonlySet<string>): boolean {
  if (manifest === undefined) return false;
  return [...manifest.tables.keys()].every((table) => names.has(levelFileName(table, "ldb")));
}

/**
 * Returns the offset of the next record after `start`. Every offset is tried, because an earlier header may be lost.
 * First fragments count as records.
 */
export function recordBehind(bytes: Buffer, start: number): number | undefined {
  for (let at = start + 1; at + HEADER_BYTES <= bytes.length; at++) {
    const type = bytes[at + 6];
    if (type !== FULL && type !== FIRST) continue;
    const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES;
    const end = at + HEADER_BYTES + bytes.readUInt16LE(at + 4);
    if (end > Math.min(blockEnd, bytes.length)) continue;
    if (unmaskCrc(bytes.readUInt32LE(at)) === crc32c(bytes, at + 6, end)) return at;
  }
  return undefined;
}

function endingOf(
  bytes: Buffer,
  ending: BatchEnding,
): { readonly bytes: Uint8Array; readonly batchBytes: number } | undefined {
  const blockStart = bytes.length - (bytes.length % BLOCK_BYTES || BLOCK_BYTES);
  const inBlock = bytes.subarray(blockStart + HEADER_BYTES).subarray(-ending.bytes);
  // The ending may span two blocks, with a header in between.
  const before = bytes.subarray(0, blockStart).subarray(-(ending.bytes - inBlock.length));
  const last = inBlock.length === ending.bytes ? inBlock : Buffer.concat([before, inBlock]);
  if (last.length < ending.bytes) return undefined;
  const batchBytes = ending.batchBytes(last);
  return batchBytes === undefined ? undefined : { bytes: last, batchBytes };
}

/**
 * Returns whether a sector, from the one at `start` on, or the end of a page was never written. The first and the last
 * sector may be partial.
 */
function lacksSectors(bytes: Buffer, start: number): boolean {
  for (let from = start; from < bytes.length;) {
    const to = from - (from % SECTOR_BYTES) + SECTOR_BYTES;
    if (bytes.subarray(from, to).every((byte) => byte === 0)) return true;
    from = to;
  }
  // A page that was flushed between two writes ends in zeros.
  for (let end = start - (start % PAGE_BYTES) + PAGE_BYTES; end < bytes.length; end += PAGE_BYTES) {
    if (bytes[end - 1] === 0) return true;
  }
  return bytes.at(-1) === 0;
}
