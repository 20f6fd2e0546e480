import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { evictionsCursor, notOfThisList } from "./cursor.ts";
import type { PurgeHeld } from "../purge/eviction-purge.ts";
import type { IndexState } from "../rows/index-state.ts";
import { type PurgeMark, readPurgeMarks } from "../rows/purge-row.ts";
import { allRows } from "../rows/row-cursor.ts";
import { parseNumberedStem, parseStem, ROW, rowsOfKind } from "../rows/row-keys.ts";
import { decodeNumber } from "../rows/row-values.ts";
import { isoTime } from "@cairn/text";

export interface Eviction extends DocumentKey {
  readonly txId: TxId;
  readonly txTime: string;
  /** The evicted data that this node's index files may still contain. */
  readonly files: EvictedFiles;
}

/**
 * `goneSince` is a time (ISO 8601) since which a node's index files have held no bytes of an eviction, or null while
 * they may. `waitsFor` is then what will remove the rest: a `compaction`, the end of `reads` that began earlier, a
 * `restart` (if only a value of an indexed field remains, in LevelDB's manifest), an `own-index` that has yet to remove
 * it, or `unknown` if the key-value store does not report it.
 */
type EvictedFiles =
  | { readonly goneSince: string; readonly waitsFor: null }
  | {
      readonly goneSince: null;
      readonly waitsFor: "compaction" | "reads" | "restart" | "own-index" | "unknown";
    };

const WAITS_FOR = { unfinished: "compaction", read: "reads", unknown: "unknown" } as const;

export interface EvictionPage {
  readonly evictions: readonly Eviction[];
  readonly cursor?: string;
}

/** A query for evictions. `held` is the reason why those after the last mark are still in the files. */
interface EvictionQuery {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly held?: PurgeHeld | undefined;
}

/** Reads evictions, newest first. Throws `REQUEST_INVALID` if `cursor` is not from a list of evictions. */
export async function readEvictions(
  reader: KvReader,
  state: IndexState,
  { limit, cursor, held }: EvictionQuery,
): Promise<EvictionPage> {
  const marks = await readPurgeMarks(reader);
  const { gte, lt } = rowsOfKind(ROW.eviction);
  const point = await evictionsCursor.resume(reader, {}, cursor);
  const end = point === undefined ? lt : Buffer.from(point.after, "hex");
  if (Buffer.compare(end, gte) < 0 || Buffer.compare(end, lt) > 0) throw notOfThisList();
  const rows = await allRows(reader, { gte, lt: end, reverse: true, limit: limit + 1 });
  const evictions = rows.slice(0, limit).map(([key, value]): Eviction => {
    const { number: txId, stem } = parseNumberedStem(key);
    const txTime = isoTime(decodeNumber(key, value));
    return { txId, txTime, ...parseStem(stem), files: evictedFiles(txId, marks, held) };
  });
  const [last] = rows[limit - 1] ?? [];
  if (rows.length <= limit || last === undefined) return { evictions };
  return { evictions, cursor: evictionsCursor.encode({}, state, Buffer.from(last).toString("hex")) };
}

function evictedFiles(txId: TxId, marks: readonly PurgeMark[], held: PurgeHeld = "unfinished"): EvictedFiles {
  const mark = marks.find((one) => one.txId >= txId);
  if (mark?.named === true) return { goneSince: null, waitsFor: "restart" };
  if (mark !== undefined) return { goneSince: isoTime(mark.at), waitsFor: null };
  return { goneSince: null, waitsFor: WAITS_FOR[held] };
}
