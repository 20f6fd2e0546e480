import { type KvOperation, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { z } from "zod";
import { sealed, unsealed } from "./row-checksum.ts";
import { evictionRowKey, ROW, rowsOfKind, NO_STEM } from "./row-keys.ts";
import { unusableIndex } from "./unusable-index.ts";

/**
 * From `at` on (ms since 1970), nothing of what transactions up to `txId` evicted is left in the files of this index; with `named`, nothing
 * but the value of an indexed field in a file that is replaced when the index is opened anew, and that copies of it do not have.
 */
export interface PurgeMark {
  readonly txId: TxId;
  readonly at: number;
  readonly named?: true | undefined;
}

/**
 * The row of a node's own that says how far evictions are gone from the files. It tells of files, not of the log, and goes with them: a
 * copy of the files has nothing in it that they do not have.
 */
export const PURGE_ROW_KEY: Uint8Array = Buffer.from("mpurged", "utf8");

/** More would tell times of years ago more exactly. */
const MOST_MARKS = 100;

const MarksSchema = z.array(
  z.object({ txId: z.int().min(0), at: z.int().min(0), named: z.literal(true).optional() }),
);

/** The marks of an index, the oldest first; none where nothing was ever purged. `INDEX_CORRUPT` where the row is not what was written. */
export async function readPurgeMarks(reader: KvReader): Promise<readonly PurgeMark[]> {
  const value = await reader.get(PURGE_ROW_KEY);
  if (value === undefined) return [];
  const text = unsealed(PURGE_ROW_KEY, value).toString("utf8");
  const marks = MarksSchema.safeParse(JSON.parse(text));
  if (marks.success) return marks.data;
  throw unusableIndex("its row of purged evictions is not readable", marks.error);
}

/** The row of these marks, the oldest first. */
export function purgeRow(marks: readonly PurgeMark[]): KvOperation {
  const kept = marks.slice(-MOST_MARKS);
  const value = sealed(PURGE_ROW_KEY, Buffer.from(JSON.stringify(kept), "utf8"));
  return { type: "put", key: PURGE_ROW_KEY, value };
}

/** The rows of what was evicted after transaction `txId`. */
export function evictionsAfter(txId: TxId): { gte: Buffer; lt: Buffer } {
  return { gte: evictionRowKey(txId + 1, NO_STEM), lt: rowsOfKind(ROW.eviction).lt };
}

/** The last transaction of an index that ends at `txId` up to which evictions are gone from its files; 0 where none are. */
export async function purgedUpTo(reader: KvReader, txId: TxId): Promise<TxId> {
  const last = (await readPurgeMarks(reader)).at(-1)?.txId ?? 0;
  for await (const rows of reader.range({ ...evictionsAfter(last), limit: 1 }))
    if (rows.length > 0) return last;
  return txId;
}
