import type { DocumentKey, TxId } from "@cairn/client";
import {
  asBuffer,
  END,
  escape,
  ESCAPED,
  ID_BYTES,
  readId,
  unescape,
  writeAsciiPart,
  writeId,
} from "./row-key-parts.ts";

/*
 * Every row's key begins with one byte that names its kind. Documents, tombstones and versions share the encoding of what
 * follows, the *stem*: bucket, namespace and name, each ended by 0x00, so that rows stand in the order of the contract
 * (namespace, then name, by UTF-8 bytes). A 0x00 inside a part is written 0x00 0xFF; UTF-8 has no byte 0xFF, so nothing that can
 * follow a part's end sorts behind it.
 */

/** The kinds of rows. docs/index-format.md gives each one's key and value. */
export const ROW = {
  fieldBuild: 0x62, // b: index; how far the rows of an indexed field are built
  document: 0x63, // c: current version
  tombstone: 0x64, // d: the key's last write was a deletion
  event: 0x65, // e: time, tx-id, place in the transaction
  field: 0x66, // f: index, value, namespace, name
  version: 0x68, // h: a superseded version; stem, then its revision
  submission: 0x69, // i: an idempotency id
  submissionOrder: 0x6a, // j: tx-id; the idempotency id that it used
  link: 0x6b, // k: tx-id; the two chains up to there
  meta: 0x6d, // m
  counter: 0x6e, // n: documents and tombstones of a bucket
  expired: 0x6f, // o: tx-id, then the stem whose document expired
  due: 0x71, // q: time, then the stem of a document that may expire then
  chainEntries: 0x72, // r: tx-id; what the newest messages add to the chains
  transaction: 0x74, // t: tx-id
  fieldCount: 0x76, // v: index, value; how many documents have it
  eviction: 0x78, // x: tx-id, then the stem that was evicted
  fieldRemoval: 0x7a, // z: index; its rows are being removed
} as const;

/** One of {@link ROW}'s bytes. */
export type RowKind = (typeof ROW)[keyof typeof ROW];

/** The document row of a key; `key` is `namespace/name`. The rows of the other kinds are made from it. */
export function documentRowKey(bucket: string, key: string): Buffer {
  const rowKey = Buffer.allocUnsafe(bucket.length + key.length + 3);
  rowKey[0] = ROW.document;
  const keyAt = writeAsciiPart(rowKey, 1, bucket);
  const slash = key.indexOf("/");
  if (keyAt < 0 || writeAsciiPart(rowKey, keyAt, key) < 0) {
    return encodeDocumentKey({ bucket, namespace: key.slice(0, slash), name: key.slice(slash + 1) });
  }
  rowKey[keyAt + slash] = END;
  return rowKey;
}

/** The document row of a key whose parts are known. */
export function documentKeyRow(key: DocumentKey): Buffer {
  const { bucket, namespace, name } = key;
  const rowKey = Buffer.allocUnsafe(bucket.length + namespace.length + name.length + 4);
  rowKey[0] = ROW.document;
  let at = writeAsciiPart(rowKey, 1, bucket);
  if (at >= 0) at = writeAsciiPart(rowKey, at, namespace);
  if (at >= 0) at = writeAsciiPart(rowKey, at, name);
  return at < 0 ? encodeDocumentKey(key) : rowKey;
}

/** Whatever characters the key has. */
function encodeDocumentKey({ bucket, namespace, name }: DocumentKey): Buffer {
  const end = Buffer.from([END]);
  const kind = Buffer.from([ROW.document]);
  return Buffer.concat([kind, escape(bucket), end, escape(namespace), end, escape(name), end]);
}

/** The same stem as a row of another kind. */
export function asKind(rowKey: Uint8Array, kind: RowKind): Buffer {
  const copy = Buffer.from(rowKey);
  copy[0] = kind;
  return copy;
}

/** The row of the version of a document row's key that was written at `revision`. */
export function versionRowKey(rowKey: Uint8Array, revision: TxId): Buffer {
  const key = Buffer.allocUnsafe(rowKey.length + ID_BYTES);
  key.set(rowKey);
  key[0] = ROW.version;
  writeId(key, rowKey.length, revision);
  return key;
}

/** The revision at the end of a version row's key. */
export function versionRevision(versionKey: Uint8Array): TxId {
  return readId(versionKey, versionKey.length - ID_BYTES);
}

/** A version row's key without its kind and revision. */
export function versionStem(versionKey: Uint8Array): Buffer {
  return asBuffer(versionKey).subarray(1, versionKey.length - ID_BYTES);
}

/** The row of a transaction's outcome. */
export function transactionRowKey(txId: TxId): Buffer {
  const key = Buffer.allocUnsafe(1 + ID_BYTES);
  key[0] = ROW.transaction;
  writeId(key, 1, txId);
  return key;
}

/** The tx-id in a transaction row's key. */
export function transactionRowId(key: Uint8Array): TxId {
  return readId(key, 1);
}

/** The row that says that a key was evicted by `txId`. */
export function evictionRowKey(txId: TxId, rowKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.eviction, txId, rowKey);
}

/** The row that says that a key's document expired when `txId` was applied. */
export function expiredRowKey(txId: TxId, rowKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.expired, txId, rowKey);
}

/** The row by which a key is looked at again at `time`. */
export function dueRowKey(time: number, rowKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.due, time, rowKey);
}

function numberedStemKey(kind: RowKind, number: number, rowKey: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(ID_BYTES + rowKey.length);
  key[0] = kind;
  writeId(key, 1, number);
  key.set(rowKey.subarray(1), 1 + ID_BYTES);
  return key;
}

/** The number (a tx-id or a time) and the stem in an eviction, expired or due row's key. */
export function parseNumberedStem(key: Uint8Array): { number: number; stem: Buffer } {
  return { number: readId(key, 1), stem: asBuffer(key).subarray(1 + ID_BYTES) };
}

/** All rows of one kind. */
export function rowsOfKind(kind: RowKind): { gte: Buffer; lt: Buffer } {
  const gte = Buffer.from([kind]);
  return { gte, lt: prefixEnd(gte) };
}

/** The row of an idempotency id. */
export function submissionRowKey(id: string): Buffer {
  return Buffer.from(`i${id}`, "utf8");
}

/** The row by which an idempotency id is forgotten in its time: which one transaction `txId` used. */
export function submissionOrderKey(txId: TxId): Buffer {
  const key = transactionRowKey(txId);
  key[0] = ROW.submissionOrder;
  return key;
}

/** The tx-id in a submission order row's key. */
export function submissionOrderId(key: Uint8Array): TxId {
  return readId(key, 1);
}

/** The row of a bucket's counters. */
export function counterRowKey(bucket: string): Buffer {
  return Buffer.from(`n${bucket}`, "utf8");
}

/** The one row that says what the index is and which prefix of which log it holds. */
export const STATE_ROW_KEY: Uint8Array = Buffer.from("mstate", "utf8");

/** Bucket, namespace and name of a document or tombstone row's key. */
export function parseDocumentRowKey(rowKey: Uint8Array): DocumentKey {
  return parseStem(asBuffer(rowKey).subarray(1));
}

/** Bucket, namespace and name of a stem. */
export function parseStem(stem: Buffer): DocumentKey {
  const parts: string[] = [];
  let from = 0;
  while (parts.length < 3) {
    let end = stem.indexOf(END, from);
    while (stem[end + 1] === ESCAPED) end = stem.indexOf(END, end + 2);
    parts.push(unescape(stem.subarray(from, end)));
    from = end + 1;
  }
  const [bucket = "", namespace = "", name = ""] = parts;
  return { bucket, namespace, name };
}

/** The first key behind all keys that begin with `prefix`. */
export function prefixEnd(prefix: Uint8Array): Buffer {
  let length = prefix.length;
  // A part that ends here: an escaped 0x00 would be another, longer part, which sorts behind all that follows an end.
  if (prefix[length - 1] === END) return Buffer.concat([prefix, Buffer.from([ESCAPED])]);
  // Only a prefix that ends with an escaped 0x00 ends with 0xFF.
  while (prefix[length - 1] === ESCAPED) length -= 1;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

/** The beginning of the document rows of a bucket, of a namespace in it, or of names that begin with `prefix`. */
export function documentRowPrefix(bucket: string, namespace?: string, prefix = ""): Buffer {
  if (namespace === undefined) return Buffer.from(`c${bucket}\0`, "utf8");
  const parts = [Buffer.from(`c${bucket}\0`, "utf8"), escape(namespace), Buffer.from([END]), escape(prefix)];
  return Buffer.concat(parts);
}
