import type { KvReader, KvRow } from "@cairn/kv";
import type { DocumentSelection, TxId } from "@cairn/client";
import { splitKey } from "@cairn/client/protocol";
import { badValue } from "@cairn/text";
import { notOfThisList } from "./cursor.ts";
import {
  checkFloor,
  FilledPage,
  type FoundVersion,
  type ListedDocuments,
  readFloors,
  valuesAsOf,
} from "./document-reads.ts";
import { checkedVersion, type VersionValue } from "../rows/version-values.ts";
import type { IndexState } from "../rows/index-state.ts";
import { merged } from "../rows/row-cursor.ts";
import { asKind, documentRowPrefix, keysPerRead, parseDocumentRowKey, ROW } from "../rows/row-keys.ts";
import { isAmong, type KeyRange, rowsWith } from "./field-query.ts";

/** The documents to list, in key order. `after` is the document row key after which to continue. */
export interface ListRange extends DocumentSelection {
  readonly bucket: string;
  readonly limit: number;
  readonly after?: Uint8Array;
}

type SelectedIn = DocumentSelection & { readonly bucket: string };

/** Returns the range of the document rows of a list, all of which belong to it unless {@link isFiltered}. */
export function documentRows(selected: SelectedIn): KeyRange {
  const { bucket, namespace, prefix } = selected;
  const { gte, lt } = rowsWith(documentRowPrefix(bucket, namespace, prefix));
  const [first, end] = [boundRow(selected, "from"), boundRow(selected, "to")];
  return {
    gte: first !== undefined && Buffer.compare(first, gte) > 0 ? first : gte,
    lt: end !== undefined && Buffer.compare(end, lt) < 0 ? end : lt,
  };
}

/** Returns the place of a key among document rows: before its own, and after those of all smaller keys. */
function boundRow(selected: SelectedIn, option: "from" | "to"): Buffer | undefined {
  const { bucket, namespace, [option]: key } = selected;
  if (key === undefined) return undefined;
  // A variable that is empty by mistake would otherwise stand for a key before all others.
  if (key === "") throw badValue(`${option} must not be empty.`, `Name a key, or omit ${option}.`);
  const at = namespace === undefined ? splitKey(key) : { namespace, name: key };
  return documentRowPrefix(bucket, at.namespace, at.name);
}

/** Returns whether names must be filtered, because a prefix without a namespace applies to all namespaces. */
export function isFiltered({ namespace, prefix = "" }: DocumentSelection): boolean {
  return namespace === undefined && prefix !== "";
}

const MAX_KEYS_PER_READ = 128;

export function documentsPerRead({ largest }: IndexState): number {
  return Math.min(MAX_KEYS_PER_READ, keysPerRead(largest));
}

export async function listCurrent(reader: KvReader, range: ListRange): Promise<ListedDocuments> {
  const most = isFiltered(range) ? {} : { limit: range.limit + 1 };
  const rows = reader.range({ ...bounds(range, ROW.document), ...most });
  const page = new FilledPage(range.limit);
  return await page.fill(rows, Infinity, (found) => Promise.resolve(versionsIn(range, found)));
}

/**
 * Lists the documents as they were after transaction `txId`. Every key that had a document then has a document or
 * tombstone row now, unless it was evicted: both kinds are read in key order, and only keys changed since are looked up
 * in the history. Throws `WATCH_COMPACTED` if a history policy has removed the history of that time.
 */
export async function listAsOf(
  reader: KvReader,
  range: ListRange,
  state: IndexState,
  txId: TxId,
  isWanted: (value: VersionValue) => boolean = () => true,
): Promise<ListedDocuments> {
  const kinds = [ROW.document, ROW.tombstone].map((kind) => reader.range(bounds(range, kind)));
  const rows = merged(kinds, ([a], [b]) => Buffer.compare(a.subarray(1), b.subarray(1)));
  // Keys that were removed entirely would be missing from the list.
  const floors = await readFloors(reader, range.bucket);
  checkFloor(floors, range.bucket, txId, undefined);
  // Keys beyond the end of the page are read too, so a key is refused only once the page has come to it.
  const wanted = function* (
    found: readonly FoundVersion[],
    values: readonly (VersionValue | undefined)[],
  ): Iterable<FoundVersion> {
    for (const [at, [rowKey, newest]] of found.entries()) {
      const value = values[at];
      if (value === undefined) checkFloor(floors, range.bucket, txId, newest);
      else if (isWanted(value)) yield [rowKey, value];
    }
  };
  const page = new FilledPage(range.limit);
  return await page.fill(rows, documentsPerRead(state), async (some) => {
    const found = versionsIn(range, some);
    return wanted(found, await valuesAsOf(reader, found, txId));
  });
}

/** Returns the versions in rows of a list's range, without those of keys that are not in the list. */
function versionsIn(range: ListRange, rows: readonly KvRow[]): readonly FoundVersion[] {
  const { prefix = "" } = range;
  const listed = isFiltered(range)
    ? rows.filter(([key]) => parseDocumentRowKey(key).name.startsWith(prefix))
    : rows;
  return listed.map((row) => [row[0], checkedVersion(...row)]);
}

function bounds(range: ListRange, kind: typeof ROW.document | typeof ROW.tombstone) {
  const rows = documentRows(range);
  const lt = asKind(rows.lt, kind);
  const { after } = range;
  if (after === undefined) return { gte: asKind(rows.gte, kind), lt };
  // A cursor of another list is rejected, because this list would otherwise include documents outside its range.
  if (!isAmong([rows], after)) throw notOfThisList();
  return { gt: asKind(after, kind), lt };
}
