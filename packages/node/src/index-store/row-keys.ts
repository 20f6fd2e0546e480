import type { DocumentKey, TxId } from "../tx-log/transaction.ts";

/*
 * Every row's key begins with one byte that names its kind. Documents, tombstones and versions share the encoding of what
 * follows, the *stem*: bucket, namespace and name, each ended by 0x00, so that rows stand in the order of the contract
 * (namespace, then name, by UTF-8 bytes). A 0x00 inside a part is written 0x00 0xFF; UTF-8 has no byte 0xFF, so nothing that can
 * follow a part's end sorts behind it.
 */

/** The kinds of rows. docs/index-format.md gives each one's key and value. */
export const ROW = {
  document: 0x63, // c: current version
  tombstone: 0x64, // d: the key's last write was a deletion
  version: 0x68, // h: a superseded version; stem, then its revision
  submission: 0x69, // i: an idempotency id
  submissionOrder: 0x6a, // j: tx-id; the idempotency id that it used
  meta: 0x6d, // m
  counter: 0x6e, // n: documents and tombstones of a bucket
  transaction: 0x74, // t: tx-id
  eviction: 0x78, // x: tx-id, then the stem that was evicted
} as const;

/** One of {@link ROW}'s bytes. */
export type RowKind = (typeof ROW)[keyof typeof ROW];

const END = 0x00;
const ESCAPED = 0xff;
const SLASH = 0x2f;
const ID_BYTES = 8;

/** The document row of a key; `key` is `namespace/name`. The rows of the other kinds are made from it. */
export function documentRowKey(bucket: string, key: string): Buffer {
  if (key.includes("\0")) return documentRowKeyOfParts(bucket, key);
  const rowKey = Buffer.from(`c${bucket}\0${key}\0`, "utf8");
  // The first "/" ends the namespace: a bucket has none, and in UTF-8 the byte stands for nothing else.
  rowKey[rowKey.indexOf(SLASH, bucket.length + 2)] = END;
  return rowKey;
}

function documentRowKeyOfParts(bucket: string, key: string): Buffer {
  const slash = key.indexOf("/");
  const end = Buffer.from([END]);
  const [namespace, name] = [escape(key.slice(0, slash)), escape(key.slice(slash + 1))];
  return Buffer.concat([Buffer.from(`c${bucket}\0`, "utf8"), namespace, end, name, end]);
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
  const key = Buffer.allocUnsafe(ID_BYTES + rowKey.length);
  key[0] = ROW.eviction;
  writeId(key, 1, txId);
  key.set(rowKey.subarray(1), 1 + ID_BYTES);
  return key;
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

function escape(part: string): Buffer {
  const bytes = Buffer.from(part, "utf8");
  if (!bytes.includes(END)) return bytes;
  const out: number[] = [];
  for (const byte of bytes) {
    out.push(byte);
    if (byte === END) out.push(ESCAPED);
  }
  return Buffer.from(out);
}

function unescape(bytes: Buffer): string {
  return bytes.includes(END)
    ? Buffer.from(bytes.filter((byte) => byte !== ESCAPED)).toString("utf8")
    : bytes.toString("utf8");
}

function writeId(target: Buffer, at: number, id: TxId): void {
  target.writeUInt32BE(Math.floor(id / 2 ** 32), at);
  target.writeUInt32BE(id >>> 0, at + 4);
}

function readId(source: Uint8Array, at: number): TxId {
  const bytes = asBuffer(source);
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
