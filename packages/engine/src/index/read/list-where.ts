import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { qualifiedKey } from "@cairn/text";
import { checkFloor, FilledPage, type PastFloors, readFloors, valueAsOf } from "./document-reads.ts";
import {
  type FieldQuery,
  type IndexedValue,
  hasValues,
  rarestOf,
  type Wanted,
  wantedFields,
} from "./field-query.ts";
import type { IndexState } from "../rows/index-state.ts";
import { foreignCursor } from "./cursor.ts";
import { listAsOf, type ListedDocuments, type ListRange } from "./list-documents.ts";
import { fieldRowKey, fieldValuePrefix } from "../rows/field-row-keys.ts";
import {
  asKind,
  documentRowKey,
  documentRowPrefix,
  expiredRowKey,
  parseDocumentRowKey,
  parseNumberedStem,
  prefixEnd,
  ROW,
  NO_STEM,
  rowsOfKind,
  keysPerRead,
} from "../rows/row-keys.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { outcomeOperations } from "../rows/row-values.ts";
import { checkedVersion } from "../rows/version-values.ts";

interface WhereRange extends ListRange {
  /** The conditions, all of which must hold. There is at least one. */
  readonly where: readonly FieldQuery[];
}

/** After more transactions than this, listing everything as of that time costs less than finding the changed keys. */
const MAX_TRANSACTIONS_BACK = 10_000;
/**
 * With more changed keys than this, everything is listed too: each page of each reader holds them in memory, and 10,000
 * transactions can change ten million.
 */
const MAX_CHANGED_KEYS = 50_000;
/** The maximum number of candidates that are read at once. */
const MAX_KEYS_PER_READ = 128;

/**
 * Lists the documents whose fields had the requested values after transaction `txId`. The condition that fewest
 * documents now match selects candidates, to which keys changed since `txId` are added; all conditions are then
 * checked. Throws the errors of {@link wantedFields} and {@link listAsOf}.
 */
export async function listWhere(
  reader: KvReader,
  range: WhereRange,
  state: IndexState,
  txId: TxId,
): Promise<ListedDocuments> {
  const wanted = await wantedFields(reader, range.bucket, range.where, state);
  const listEverything = async (): Promise<ListedDocuments> =>
    await listAsOf(reader, range, txId, (bytes) => hasValues(wanted, bytes));
  if (txId < Math.max(state.txId - MAX_TRANSACTIONS_BACK, state.outcomesAfter ?? 0)) {
    return await listEverything();
  }
  const isPast = txId < state.txId;
  const changed = isPast ? await changedKeys(reader, range, txId, state.txId) : NOTHING;
  if (changed === undefined) return await listEverything();
  const floors = isPast ? await readFloors(reader, range.bucket) : { floor: 0, gone: 0 };
  if (isPast) checkFloor(floors, range.bucket, txId, undefined);
  const filter = { wanted, range, txId: isPast ? txId : undefined, floors };
  const page = new FilledPage(range.limit);
  const rarest = await rarestOf(reader, wanted);
  const most = Math.min(MAX_KEYS_PER_READ, keysPerRead(state.largest));
  let read = 0;
  for await (const rowKeys of candidates(reader, rarest, range, changed)) {
    for (let from = 0, count = 0; from < rowKeys.length; from += count) {
      // Candidates beyond the end of the page would be read in vain. If few candidates match, more of them are needed.
      const missing = range.limit + 1 - page.documents.length;
      count = Math.min(most, Math.max(missing, read));
      read += count;
      if (await fill(reader, filter, rowKeys.slice(from, from + count), page)) return page;
    }
  }
  return { documents: page.documents };
}

const NOTHING: readonly Buffer[] = [];

/**
 * Document row keys, in order, that may have changed after `after`; undefined if more than {@link MAX_CHANGED_KEYS}.
 */
async function changedKeys(
  reader: KvReader,
  range: WhereRange,
  after: TxId,
  last: TxId,
): Promise<readonly Buffer[] | undefined> {
  const begin = documentRowPrefix(range.bucket, range.namespace, range.prefix);
  const end = prefixEnd(begin);
  const found = new Map<string, Buffer>();
  const note = (rowKey: Buffer): void => {
    if (Buffer.compare(rowKey, begin) < 0 || Buffer.compare(rowKey, end) >= 0) return;
    if (range.after !== undefined && Buffer.compare(rowKey, range.after) <= 0) return;
    found.set(rowKey.toString("latin1"), rowKey);
  };
  for await (const outcomes of readOutcomes(reader, { after, upTo: last })) {
    for (const { outcome } of outcomes) {
      for (const [op, bucket, name] of outcomeOperations(outcome)) {
        // An evicted key no longer has any history.
        if ((op !== "put" && op !== "delete") || bucket !== range.bucket) continue;
        note(documentRowKey(bucket, qualifiedKey(name)));
      }
      if (found.size > MAX_CHANGED_KEYS) return undefined;
    }
  }
  const expired = { gte: expiredRowKey(after + 1, NO_STEM), lt: rowsOfKind(ROW.expired).lt };
  for await (const rows of reader.range(expired)) {
    for (const [key, value] of rows) {
      unsealed(key, value);
      const { stem } = parseNumberedStem(key);
      note(Buffer.concat([Buffer.from([ROW.document]), stem]));
    }
    if (found.size > MAX_CHANGED_KEYS) return undefined;
  }
  return [...found.values()].toSorted((a, b) => Buffer.compare(a, b));
}

/** Yields arrays of ordered document row keys: the keys in the field's index, merged with `changed`. */
async function* candidates(
  reader: KvReader,
  { index, value }: IndexedValue,
  range: WhereRange,
  changed: readonly Buffer[],
): AsyncGenerator<readonly Uint8Array[]> {
  const prefix = fieldValuePrefix(index.id, value);
  const bucketPrefix = documentRowPrefix(index.bucket);
  const toRow = (rowKey: Uint8Array): Buffer => fieldRowKey(prefix, rowKey, index.bucket);
  const gte = toRow(documentRowPrefix(range.bucket, range.namespace, range.prefix));
  const lt = prefixEnd(gte);
  const gt = range.after === undefined ? undefined : toRow(range.after);
  if (gt !== undefined && (Buffer.compare(gt, gte) < 0 || Buffer.compare(gt, lt) >= 0)) throw foreignCursor();
  let at = 0;
  // If the list is plain, every row belongs to the page, and one extra row shows whether there is another page.
  const isPlain = changed.length === 0 && !hasFilter(range) && range.where.length === 1;
  const limit = isPlain ? { limit: range.limit + 1 } : {};
  for await (const rows of reader.range({ ...(gt === undefined ? { gte } : { gt }), lt, ...limit })) {
    const keys: Uint8Array[] = [];
    for (const [row] of rows) {
      const rowKey = Buffer.concat([bucketPrefix, row.subarray(prefix.length)]);
      for (let next = changed[at]; next !== undefined; next = changed[at]) {
        const order = Buffer.compare(next, rowKey);
        if (order > 0) break;
        at += 1;
        if (order < 0) keys.push(next);
      }
      keys.push(rowKey);
    }
    yield keys;
  }
  yield changed.slice(at);
}

/** Returns whether names must be filtered, because a prefix without a namespace applies to all namespaces. */
function hasFilter({ namespace, prefix }: WhereRange): boolean {
  return namespace === undefined && prefix !== undefined && prefix !== "";
}

interface Filter {
  readonly wanted: Wanted;
  readonly range: WhereRange;
  /** The transaction as of which to list; undefined for current documents. */
  readonly txId: TxId | undefined;
  readonly floors: PastFloors;
}

/** Adds matching documents to the page. Returns true if there is one more document than the page holds. */
async function fill(
  reader: KvReader,
  filter: Filter,
  rowKeys: readonly Uint8Array[],
  page: FilledPage,
): Promise<boolean> {
  const { range, txId, floors } = filter;
  const rows = hasFilter(range)
    ? rowKeys.filter((key) => parseDocumentRowKey(key).name.startsWith(range.prefix ?? ""))
    : rowKeys;
  const tombstones = txId === undefined ? [] : rows.map((key) => asKind(key, ROW.tombstone));
  const values = await reader.getMany([...rows, ...tombstones]);
  for (const [at, rowKey] of rows.entries()) {
    let value = checkedVersion(rowKey, values[at]);
    if (txId !== undefined) {
      const tombstone = tombstones[at] ?? rowKey;
      const newest = value ?? checkedVersion(tombstone, values[rows.length + at]);
      value = await valueAsOf(reader, rowKey, newest, txId);
      if (value === undefined && newest !== undefined) checkFloor(floors, range.bucket, txId, newest);
    }
    if (value !== undefined && hasValues(filter.wanted, value) && !page.add(rowKey, value)) return true;
  }
  return false;
}
