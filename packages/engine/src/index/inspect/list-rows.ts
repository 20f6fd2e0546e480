import type { KvReader } from "@cairn/kv";
import type { DocumentKey, DocumentSelection, TxId } from "@cairn/client";
import { type IndexState, readState, versionInState } from "../rows/index-state.ts";
import { parseDocumentRowKey, ROW, rowsOfKind, STATE_ROW_KEY } from "../rows/row-keys.ts";
import { documentRows } from "../read/list-documents.ts";
import { decodeCounters } from "../rows/row-values.ts";
import { checkedVersion, versionValueRevision } from "../rows/version-values.ts";
import { bytesText, kindName } from "../rows/row-names.ts";
import { madeOnce } from "@cairn/text";

/** Returns the state of the index in a LevelDB of any kind, with its stored version; undefined if it is no Cairn index. */
export async function findState(reader: KvReader): Promise<IndexState | undefined> {
  const row = await reader.get(STATE_ROW_KEY);
  const state = row && (await readState(reader));
  return state && { ...state, version: versionInState(row) };
}

/** Returns the buckets with documents or traces of deleted ones, ordered by name. */
export async function countBuckets(
  reader: KvReader,
): Promise<{ bucket: string; documents: number; deleted: number }[]> {
  const buckets: { bucket: string; documents: number; deleted: number }[] = [];
  for await (const rows of reader.range(rowsOfKind(ROW.counter))) {
    for (const [key, value] of rows) {
      const { documents, tombstones: deleted } = decodeCounters(key, value);
      if (documents === 0 && deleted === 0) continue;
      buckets.push({ bucket: Buffer.from(key.subarray(1)).toString("utf8"), documents, deleted });
    }
  }
  return buckets;
}

/** The key of a document. `revision` throws `INDEX_CORRUPT` if the document does not match its checksum. */
interface KeyedDocument extends DocumentKey {
  readonly revision: () => TxId;
}

/**
 * Yields documents in key order, page by page: without a bucket, all; in it, those of the selection, or of any name if
 * its prefix is of all namespaces.
 */
export async function* listDocuments(
  reader: KvReader,
  bucket: string | undefined,
  selection: DocumentSelection,
): AsyncGenerator<readonly KeyedDocument[], void, void> {
  const range = bucket === undefined ? rowsOfKind(ROW.document) : documentRows({ ...selection, bucket });
  for await (const rows of reader.range(range))
    yield rows.map(([key, value]) => ({
      ...parseDocumentRowKey(key),
      revision: () => versionValueRevision(checkedVersion(key, value)),
    }));
}

/** The number of rows of a kind, and the sizes in bytes of their keys and values before compression. */
interface RowMeasure {
  readonly kind: string;
  rows: number;
  keyBytes: number;
  valueBytes: number;
}

/** Measures rows by kind, in key order. Unless `isIndex`, the rows (of any LevelDB database) count as one kind. */
export async function measureRows(reader: KvReader, isIndex: boolean): Promise<RowMeasure[]> {
  const measures = new Map<number, RowMeasure>();
  for await (const page of reader.range({})) {
    for (const [key, value] of page) {
      const byte = isIndex ? (key[0] ?? -1) : -1;
      const kind = byte < 0 ? "row" : (kindName(byte) ?? `unknown ${bytesText(key.subarray(0, 1))}`);
      const none = () => ({ kind, rows: 0, keyBytes: 0, valueBytes: 0 });
      const measure = madeOnce(measures, byte, none);
      measure.rows += 1;
      measure.keyBytes += key.length;
      measure.valueBytes += value.length;
    }
  }
  return [...measures.values()];
}
