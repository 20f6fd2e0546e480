import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { evictionsCursor, markedPlace, requirePlace, unknownCursor } from "./cursor.ts";
import type { PurgeHeld } from "../purge/eviction-purge.ts";
import { type PurgeMark, readPurgeMarks } from "../rows/purge-row.ts";
import { readState, FIRST_TX_ID } from "../rows/index-state.ts";
import { allRows } from "../rows/row-cursor.ts";
import { parseNumberedStem, parseStem, ROW, rowsOfKind } from "../rows/row-keys.ts";
import { decodeNumber, outcomeOperations } from "../rows/row-values.ts";
import { isoTime, qualifiedKey } from "@cairn/text";
import { splitKey } from "@cairn/client/protocol";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { shardOfNamespace } from "../rows/queue-rows.ts";

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
export type EvictedFiles =
  | { readonly goneSince: string; readonly waitsFor: null }
  | {
      readonly goneSince: null;
      readonly waitsFor: "compaction" | "reads" | "restart" | "own-index" | "unknown";
    };

const WAITS_FOR = { unfinished: "compaction", read: "reads", unknown: "unknown" } as const;

/** An eviction, with a lower bound for the transactions that wrote the evicted content. */
export interface DatedEviction extends Eviction {
  /** No transaction before this one wrote any evicted content. */
  readonly notBefore: TxId;
}

export interface EvictionPage {
  readonly evictions: readonly DatedEviction[];
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
  { limit, cursor, held }: EvictionQuery,
): Promise<EvictionPage> {
  const marks = await readPurgeMarks(reader);
  const { gte, lt } = rowsOfKind(ROW.eviction);
  const point = cursor === undefined ? undefined : evictionsCursor.decode({}, cursor);
  const end = point === undefined ? lt : Buffer.from(point.before, "hex");
  if (Buffer.compare(end, gte) < 0 || Buffer.compare(end, lt) > 0) throw unknownCursor();
  if (point !== undefined) await requirePlace(reader, point);
  const rows = await allRows(reader, { gte, lt: end, reverse: true, limit: limit + 1 });
  const evictions = rows.slice(0, limit).map(([key, value]): Eviction => {
    const { number: txId, stem } = parseNumberedStem(key);
    const txTime = isoTime(decodeNumber(key, value));
    return { txId, txTime, ...parseStem(stem), files: evictedFiles(txId, marks, held) };
  });
  const { outcomesAfter } = (await readState(reader)) ?? {};
  const writes = await earliestWrites(reader, evictions, outcomesAfter);
  const dated = evictions.map((eviction, at) => ({ ...eviction, notBefore: writes[at] ?? 0 }));
  const [last] = rows[limit - 1] ?? [];
  if (rows.length <= limit || last === undefined) return { evictions: dated };
  const place = await markedPlace(reader, parseNumberedStem(last).number);
  const next = { ...place, before: Buffer.from(last).toString("hex") };
  return { evictions: dated, cursor: evictionsCursor.encode({}, next) };
}

function evictedFiles(txId: TxId, marks: readonly PurgeMark[], held: PurgeHeld = "unfinished"): EvictedFiles {
  const mark = marks.find((one) => one.txId >= txId);
  if (mark?.named === true) return { goneSince: null, waitsFor: "restart" };
  if (mark !== undefined) return { goneSince: isoTime(mark.at), waitsFor: null };
  return { goneSince: null, waitsFor: WAITS_FOR[held] };
}

/** The bounds of the scan for one result. Beyond them, the result is less exact. */
const MAX_TRANSACTIONS = 20_000;
const MAX_BYTES = 8 * 1024 * 1024;

/**
 * Returns, for each eviction in order, a transaction at or after which all content that it removed was written. No
 * versions of evicted keys remain, so the operations of all transactions are scanned, up to a bound. Within it the
 * result is exact, except that an entry of a queue may seem as old as any key of its name; beyond it, the result may be
 * too early. `removed` is the last transaction whose outcome was removed.
 */
export async function earliestWrites(
  reader: KvReader,
  evictions: readonly (DocumentKey & { readonly txId: TxId })[],
  removed: TxId = 0,
): Promise<TxId[]> {
  // A transaction whose outcome was removed may have written any key.
  const before = removed === 0 ? Infinity : FIRST_TX_ID;
  // The first write of each origin since its last eviction; Infinity if there is none.
  const firsts = new Map(evictions.map((eviction) => [originOf(eviction), before]));
  const exact = new Map<string, TxId>();
  const last = evictions.reduce((latest, { txId }) => Math.max(latest, txId), 0);
  let scanned = Math.max(removed, FIRST_TX_ID - 1);
  let bytes = 0;
  const range = { after: scanned, upTo: last, limit: MAX_TRANSACTIONS };
  scan: for await (const outcomes of readOutcomes(reader, range)) {
    for (const { txId, outcome, bytes: size } of outcomes) {
      bytes += size;
      // After a missing transaction, the scan would no longer be reliable.
      if (txId !== scanned + 1 || bytes > MAX_BYTES) break scan;
      scanned = txId;
      for (const [op, bucket, key] of outcomeOperations(outcome)) {
        if (op !== "put" && op !== "evict") continue;
        const { namespace, name } = splitKey(qualifiedKey(key));
        const origin = originOf({ bucket, namespace, name });
        const first = firsts.get(origin);
        if (first === undefined) continue;
        if (op === "evict") exact.set(`${txId} ${origin}`, first);
        // Other keys of this origin may remain after an eviction.
        const isAlone = shardOfNamespace(namespace) === undefined;
        firsts.set(origin, op === "evict" && isAlone ? Infinity : Math.min(first, txId));
      }
    }
  }
  return evictions.map((eviction) => {
    if (eviction.txId <= removed) return FIRST_TX_ID;
    const origin = originOf(eviction);
    const first = exact.get(`${eviction.txId} ${origin}`) ?? firsts.get(origin) ?? FIRST_TX_ID;
    return Math.min(scanned + 1, first);
  });
}

/** Entries of a queue take their content with them to other namespaces, so keys in shards share an origin. */
function originOf({ bucket, namespace, name }: DocumentKey): string {
  return `${bucket} ${shardOfNamespace(namespace) === undefined ? namespace : ""}/${name}`;
}
