import type { KvReader, KvRow } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { foreignCursor } from "./cursor.ts";
import type { StoredDocument } from "./documents.ts";
import { checkFloor, FilledPage, readFloors, valueAsOf } from "./document-reads.ts";
import { checkedVersion, type VersionValue } from "../rows/version-values.ts";
import { merged } from "../rows/row-cursor.ts";
import { asKind, documentRowPrefix, parseDocumentRowKey, prefixEnd, ROW } from "../rows/row-keys.ts";

/** The range of documents to list, in key order. `after` is the document row key after which to continue. */
export interface ListRange {
  readonly bucket: string;
  readonly namespace?: string;
  readonly prefix?: string;
  readonly limit: number;
  readonly after?: Uint8Array;
}

/** Documents and, if there may be more, the row key after which to continue. */
export interface ListedDocuments {
  readonly documents: StoredDocument[];
  readonly after?: Uint8Array | undefined;
}

export async function listCurrent(reader: KvReader, range: ListRange): Promise<ListedDocuments> {
  const { namespace, prefix = "", limit } = range;
  // Every row belongs to the list, unless a prefix without a namespace filters the rows.
  const most = namespace === undefined && prefix !== "" ? {} : { limit: limit + 1 };
  const rows = reader.range({ ...bounds(range, ROW.document), ...most });
  return await collect(rows, range, (row) => Promise.resolve(checkedVersion(...row)));
}

/**
 * Lists the documents as they were after transaction `txId`. Every key that had a document then has a document or
 * tombstone row now, unless it was evicted: both kinds are read in key order, and only keys changed since are looked up
 * in the history. Throws `WATCH_COMPACTED` if a history policy has removed the history of that time.
 */
export async function listAsOf(
  reader: KvReader,
  range: ListRange,
  txId: TxId,
  isWanted: (value: VersionValue) => boolean = () => true,
): Promise<ListedDocuments> {
  const kinds = [ROW.document, ROW.tombstone].map((kind) => reader.range(bounds(range, kind)));
  const rows = merged(kinds, ([a], [b]) => Buffer.compare(a.subarray(1), b.subarray(1)));
  // Keys that were removed entirely would be missing from the list.
  const floors = await readFloors(reader, range.bucket);
  checkFloor(floors, range.bucket, txId, undefined);
  return await collect(rows, range, async (row) => {
    const newest = checkedVersion(...row);
    const found = await valueAsOf(reader, row[0], newest, txId);
    if (found === undefined) checkFloor(floors, range.bucket, txId, newest);
    return found === undefined || isWanted(found) ? found : undefined;
  });
}

async function collect(
  source: AsyncIterable<readonly KvRow[]>,
  { namespace, prefix, limit }: ListRange,
  valueOf: (row: KvRow) => Promise<VersionValue | undefined>,
): Promise<ListedDocuments> {
  const page = new FilledPage(limit);
  // A prefix without a namespace filters the names of all namespaces.
  const filter = namespace === undefined && prefix !== undefined && prefix !== "" ? prefix : undefined;
  for await (const rows of source) {
    for (const row of rows) {
      if (filter !== undefined && !parseDocumentRowKey(row[0]).name.startsWith(filter)) continue;
      if (!page.add(row[0], await valueOf(row))) return page;
    }
  }
  return { documents: page.documents };
}

function bounds(
  { bucket, namespace, prefix, after }: ListRange,
  kind: typeof ROW.document | typeof ROW.tombstone,
) {
  const begin = asKind(documentRowPrefix(bucket, namespace, prefix), kind);
  const lt = prefixEnd(begin);
  if (after === undefined) return { gte: begin, lt };
  const gt = asKind(after, kind);
  // A cursor of another list is rejected, because this list would otherwise include documents outside its range.
  if (Buffer.compare(gt, begin) < 0 || Buffer.compare(gt, lt) >= 0) throw foreignCursor();
  return { gt, lt };
}
