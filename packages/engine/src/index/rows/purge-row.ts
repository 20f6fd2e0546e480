import { type KvOperation, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { firstRow } from "./row-cursor.ts";
import { sealed, sealedJson, unsealedJson } from "./row-checksum.ts";
import { contentRowKey, erasureRowKey, evictionRowKey, ROW, rowsOfKind, NO_STEM } from "./row-keys.ts";
import { versionValueRevision } from "./version-values.ts";

/**
 * A mark of purged evictions. Since `at` (ms since 1970), the files of this index have contained no content that was
 * evicted by transactions up to `txId`. With `named`, a value of an indexed field may remain in a file that is not part
 * of copies of the index and is replaced when the index is next opened.
 */
export interface PurgeMark {
  readonly txId: TxId;
  readonly at: number;
  readonly named?: true | undefined;
}

/** The row describes the files, not the log, and is copied with them: a copy contains only what they do. */
const PURGE_ROW_KEY: Uint8Array = Buffer.from("mpurged", "utf8");

/** The maximum number of marks that are kept. More marks would only record the times of old purges more exactly. */
const MAX_MARKS = 100;

/** Reads the marks of an index, oldest first; none if nothing was ever purged. Throws `INDEX_CORRUPT`. */
export async function readPurgeMarks(reader: KvReader): Promise<readonly PurgeMark[]> {
  const value = await reader.get(PURGE_ROW_KEY);
  if (value === undefined) return [];
  return unsealedJson(PURGE_ROW_KEY, value);
}

export function purgeRow(marks: readonly PurgeMark[]): KvOperation {
  const value = sealedJson(PURGE_ROW_KEY, marks.slice(-MAX_MARKS));
  return { type: "put", key: PURGE_ROW_KEY, value };
}

/** Returns the range of the rows of evictions after transaction `txId`, and not after `last` if it is given. */
export function evictionsAfter(txId: TxId, last?: TxId): { gte: Buffer; lt: Buffer } {
  const lt = last === undefined ? rowsOfKind(ROW.eviction).lt : evictionRowKey(last + 1, NO_STEM);
  return { gte: evictionRowKey(txId + 1, NO_STEM), lt };
}

/** Returns the row that remembers, until it is purged, that eviction `txId` removed the content row of a version. */
export function erasureOf(txId: TxId, rowKey: Uint8Array, version: Uint8Array): KvOperation {
  const key = erasureRowKey(txId, contentRowKey(rowKey, versionValueRevision(version)));
  return { type: "put", key, value: sealed(key) };
}

/** Returns the range of the rows that {@link erasureOf} made for evictions up to transaction `txId`. */
export function erasuresUpTo(txId: TxId): { gte: Buffer; lt: Buffer } {
  return { gte: rowsOfKind(ROW.erasure).gte, lt: erasureRowKey(txId + 1, NO_STEM) };
}

/**
 * Returns the last transaction up to which evictions have been purged from the files of an index that ends at `txId`; 0
 * if none have been.
 */
export async function purgedUpTo(reader: KvReader, txId: TxId): Promise<TxId> {
  const last = (await readPurgeMarks(reader)).at(-1)?.txId ?? 0;
  return (await firstRow(reader, evictionsAfter(last))) === undefined ? txId : last;
}
