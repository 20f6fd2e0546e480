import { CairnError, type KvReader } from "@cairn/kv";
import type { DocumentKey, Revision, TxId } from "@cairn/client";
import type { AsOf, DocumentVersion, StoredDocument } from "./documents.ts";
import { headsOf } from "../rows/index-rows.ts";
import { firstKept, readState } from "../rows/index-state.ts";
import { timeRemoved } from "./outcome-reads.ts";
import { transactionAtTime } from "./transaction-at-time.ts";
import {
  asKind,
  counterRowKey,
  documentKeyRow,
  parseDocumentRowKey,
  ROW,
  versionRowKey,
} from "../rows/row-keys.ts";
import { firstRow, readEach } from "../rows/row-cursor.ts";
import { readOutcome } from "../rows/outcome-rows.ts";
import { type BucketCounters, decodeCounters } from "../rows/row-values.ts";
import {
  checkedVersion,
  decodeVersion,
  decodeVersionText,
  headLength,
  readNewest,
  type VersionValue,
  versionValueRevision,
} from "../rows/version-values.ts";
import { isoTime } from "@cairn/text";

/** A document or undefined. It is a promise only if the row is not in memory. */
export type MaybeDocument = StoredDocument | undefined | Promise<StoredDocument | undefined>;

/** Avoids a promise, which would account for a third of the cost of reading a row in memory. */
export function readDocument(reader: KvReader, key: DocumentKey): MaybeDocument {
  const rowKey = documentKeyRow(key);
  const decoded = (text: string | undefined): StoredDocument | undefined => {
    if (text === undefined) return undefined;
    const { revision, json } = decodeVersionText(rowKey, text);
    return keyedDocument(key, revision, json);
  };
  const value = reader.getText === undefined ? readBytes(reader, rowKey) : reader.getText(rowKey);
  return value instanceof Promise ? value.then(decoded) : decoded(value);
}

async function readBytes(reader: KvReader, rowKey: Uint8Array): Promise<string | undefined> {
  const value = await reader.get(rowKey);
  return value === undefined ? undefined : Buffer.from(value).toString("utf8");
}

/** Returns the size of a document without reading it (bytes). */
export async function readDocumentBytes(reader: KvReader, key: DocumentKey): Promise<number> {
  const head = await headsOf(reader).get(documentKeyRow(key));
  return head === undefined ? 0 : headLength(head);
}

/** Throws as {@link resolveAsOf} and {@link checkFloor} do. Calls `onAsOf` with the transaction that `asOf` means. */
export async function readDocumentAsOf(
  reader: KvReader,
  key: DocumentKey,
  asOf: AsOf,
  onAsOf?: (txId: TxId) => void,
): Promise<StoredDocument | undefined> {
  const txId = (await resolveAsOf(reader, asOf)) ?? 0;
  onAsOf?.(txId);
  const rowKey = documentKeyRow(key);
  const newest = await readNewest(reader, rowKey);
  const value = await valueAsOf(reader, rowKey, newest, txId);
  if (value === undefined) checkFloor(await readFloors(reader, key.bucket), key.bucket, txId, newest);
  return value === undefined ? undefined : storedDocument(key, value);
}

/** The newest value (a document or a tombstone) if it is old enough, else the newest superseded version that is. */
async function valueAsOf(
  reader: KvReader,
  rowKey: Uint8Array,
  newest: VersionValue | undefined,
  txId: TxId,
): Promise<VersionValue | undefined> {
  if (newest === undefined || versionValueRevision(newest) <= txId) return newest;
  const range = { gte: asKind(rowKey, ROW.version), lte: versionRowKey(rowKey, txId), reverse: true };
  const row = await firstRow(reader, range);
  return row && checkedVersion(...row);
}

/** Like {@link valueAsOf}, for keys with their newest values. */
export async function valuesAsOf(
  reader: KvReader,
  newest: readonly (readonly [rowKey: Uint8Array, newest: VersionValue | undefined])[],
  txId: TxId,
): Promise<(VersionValue | undefined)[]> {
  return await readEach(newest, ([rowKey, value]) => valueAsOf(reader, rowKey, value, txId));
}

/** The transactions from which a bucket's history is complete. */
export type PastFloors = Pick<BucketCounters, "floor" | "gone">;

export async function readFloors(reader: KvReader, bucket: string): Promise<PastFloors> {
  const key = counterRowKey(bucket);
  const value = await reader.get(key);
  return value === undefined ? { floor: 0, gone: 0 } : decodeCounters(key, value);
}

/**
 * Throws `WATCH_COMPACTED` if a key for which nothing was found at transaction `txId` may have had a document that a
 * history policy removed. `newest` is the key's current value, which may have superseded a removed version.
 */
export function checkFloor(
  { floor, gone }: PastFloors,
  bucket: string,
  txId: TxId,
  newest: VersionValue | undefined,
): void {
  if (txId < (newest === undefined ? gone : floor)) throw compacted(bucket, txId, Math.max(floor, gone));
}

function compacted(bucket: string, txId: TxId, floor: TxId): CairnError {
  return new CairnError(
    "WATCH_COMPACTED",
    `The history of ${bucket} no longer reaches back to transaction ${txId}. It is complete from transaction ${floor} onwards.`,
    `Use transaction ${floor} or a later one. The policy "history" determines how much history is kept, and the entries of a queue's retired shards are removed with their history.`,
  );
}

/**
 * A page whose rows exceed this size (bytes) ends before its limit: it is held in memory, and a thousand of the largest
 * documents would take a gigabyte.
 */
export const MAX_PAGE_BYTES = 8 << 20;

/** Documents and, if there may be more, the row key after which to continue. */
export interface ListedDocuments {
  readonly documents: StoredDocument[];
  readonly after?: Uint8Array | undefined;
}

export type FoundVersion = readonly [rowKey: Uint8Array, value: VersionValue];

export class FilledPage {
  readonly documents: StoredDocument[] = [];
  readonly #limit: number;
  /** The row key and the version of the last document. */
  last: FoundVersion | undefined;
  #bytes = 0;

  /** `limit` is at least 1. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds the document of a version, unless it is a deletion. Returns false if the page is full already. */
  add(rowKey: Uint8Array, value: VersionValue): boolean {
    const document = storedDocument(parseDocumentRowKey(rowKey), value);
    if (document === undefined) return true;
    if (this.documents.length === this.#limit || this.#bytes >= MAX_PAGE_BYTES) return false;
    this.documents.push(document);
    this.#bytes += value.length;
    this.last = [rowKey, value];
    return true;
  }

  /**
   * Adds the documents of a list until the page is full. `read` returns those of some items of `source`: of hardly more
   * than the page has room for, and of at most `most`.
   */
  async fill<Item>(
    source: AsyncIterable<readonly Item[]>,
    most: number,
    read: (items: readonly Item[]) => Promise<Iterable<FoundVersion>>,
  ): Promise<ListedDocuments> {
    let done = 0;
    for await (const items of source) {
      for (let from = 0, count = 0; from < items.length; from += count) {
        // Items beyond the end of the page would be read in vain. If few belong to the list, more of them are needed.
        const missing = this.#limit + 1 - this.documents.length;
        count = Math.min(most, Math.max(missing, done));
        done += count;
        for (const found of await read(items.slice(from, from + count))) {
          if (!this.add(...found)) return this;
        }
      }
    }
    return { documents: this.documents };
  }

  /** The document row key of {@link last}. Its row may be a tombstone, but not every list reads those. */
  get after(): Buffer | undefined {
    return this.last && asKind(this.last[0], ROW.document);
  }
}

/**
 * Reads a key's versions, newest first: at most `limit`, at most {@link MAX_PAGE_BYTES} and one more, and only those
 * older than revision `before`, if given.
 */
export async function readHistory(
  reader: KvReader,
  key: DocumentKey,
  { limit, before }: { limit: number; before: TxId | undefined },
): Promise<{ versions: DocumentVersion[]; more: boolean }> {
  const rowKey = documentKeyRow(key);
  const begin = asKind(rowKey, ROW.version);
  // Revisions are below 2^53, so this key is after every version.
  const end = versionRowKey(rowKey, before ?? Number.MAX_SAFE_INTEGER);
  const range = { gte: begin, lt: end, reverse: true, limit: limit + 1 };
  const superseded = reader.range(range)[Symbol.asyncIterator]();
  const [newest, first] = await Promise.all([readNewest(reader, rowKey), superseded.next()]);
  const versions: DocumentVersion[] = [];
  const isWanted = newest !== undefined && (before === undefined || versionValueRevision(newest) < before);
  let bytes = 0;
  if (isWanted) {
    versions.push(documentVersion(newest));
    bytes += newest.length;
  }
  for (let page = first; page.done !== true; page = await superseded.next()) {
    for (const row of page.value) {
      if (versions.length === limit || bytes >= MAX_PAGE_BYTES) return { versions, more: true };
      const version = checkedVersion(...row);
      versions.push(documentVersion(version));
      bytes += version.length;
    }
  }
  return { versions, more: false };
}

function storedDocument(key: DocumentKey, value: VersionValue): StoredDocument | undefined {
  const { revision, json } = decodeVersion(value);
  return json === undefined ? undefined : keyedDocument(key, revision, json);
}

/** Lists the members, because a spread of the key would cost as much as reading the row. */
function keyedDocument(key: DocumentKey, revision: Revision, json: string): StoredDocument {
  return { bucket: key.bucket, namespace: key.namespace, name: key.name, revision, json };
}

/**
 * Resolves a point in time to a transaction: 0 before the first one. Throws `REQUEST_INVALID` for an invalid time, and
 * `OUTCOME_REMOVED` for one before the first kept outcome: only outcomes contain the times of transactions.
 */
export async function resolveAsOf(reader: KvReader, asOf: AsOf | undefined): Promise<TxId | undefined> {
  if (asOf === undefined) return undefined;
  if ("txId" in asOf) return asOf.txId;
  const time = Date.parse(asOf.time);
  if (Number.isNaN(time)) {
    throw new CairnError(
      "REQUEST_INVALID",
      `${JSON.stringify(asOf.time)} is not an ISO 8601 time.`,
      "Write the time in the form 2026-11-20T06:12:26.123Z, or use a transaction id.",
    );
  }
  const state = await readState(reader);
  const kept = firstKept(state ?? {});
  const found = await transactionAtTime(reader, time, { first: Math.max(kept, 1), last: state?.txId ?? 0 });
  if (found === undefined && kept > 0) {
    throw timeRemoved(asOf.time, isoTime((await readOutcome(reader, kept))?.time ?? 0));
  }
  // Transaction 0 stands for the time before the first one.
  return found ?? 0;
}

function documentVersion(value: VersionValue): DocumentVersion {
  const { revision, time, json } = decodeVersion(value);
  const version = { revision, txTime: isoTime(time), deleted: json === undefined };
  return json === undefined ? version : { ...version, json };
}
