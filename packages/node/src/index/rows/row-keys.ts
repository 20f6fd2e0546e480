import type { DocumentKey, TxId } from "@cairn/client";

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

/** Ends a part of a key. */
export const END = 0x00;
/** Follows {@link END} where that byte belongs to the part. */
export const ESCAPED = 0xff;
/** Bytes of a tx-id, a time or a count. */
export const ID_BYTES = 8;
const NS_PER_MS = 1_000_000n;

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

/** The row of a kind that has one for each of some transactions. */
export function txRowKey(kind: TxRowKind, txId: TxId): Buffer {
  const key = Buffer.allocUnsafe(1 + ID_BYTES);
  key[0] = kind;
  writeId(key, 1, txId);
  return key;
}

/** The kinds whose keys are a tx-id alone. */
export type TxRowKind = Extract<
  RowKind,
  typeof ROW.transaction | typeof ROW.submissionOrder | typeof ROW.link | typeof ROW.chainEntries
>;

/** The row of a transaction's outcome. */
export function transactionRowKey(txId: TxId): Buffer {
  return txRowKey(ROW.transaction, txId);
}

/** The tx-id that follows the kind in a row's key. */
export function rowTxId(key: Uint8Array): TxId {
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

/** A row key with nothing behind its kind: where the rows of a number begin. */
export const NO_STEM = new Uint8Array(1);

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

/** The row of a bucket's counters. */
export function counterRowKey(bucket: string): Buffer {
  return Buffer.from(`n${bucket}`, "utf8");
}

/** The row of an event; its time in nanoseconds since 1970. */
export function eventRowKey(time: bigint, txId: TxId, place: number): Buffer {
  const key = Buffer.allocUnsafe(1 + ID_BYTES + ID_BYTES + 4);
  key[0] = ROW.event;
  key.writeBigUInt64BE(time, 1);
  writeId(key, 1 + ID_BYTES, txId);
  key.writeUInt32BE(place, 1 + ID_BYTES + ID_BYTES);
  return key;
}

/** The time in an event row's key. */
export function eventRowTime(key: Uint8Array): bigint {
  return asBuffer(key).readBigUInt64BE(1);
}

/** What recorded an event: a transaction, and the event's place in it. */
export function eventRowOrigin(key: Uint8Array): { txId: TxId; place: number } {
  return { txId: readId(key, 1 + ID_BYTES), place: asBuffer(key).readUInt32BE(1 + ID_BYTES + ID_BYTES) };
}

/** The time of a transaction as events have it. */
export function nanoseconds(time: number): bigint {
  return BigInt(time) * NS_PER_MS;
}

/** The one row that says what the index is and which prefix of which log it holds. */
export const STATE_ROW_KEY: Uint8Array = Buffer.from("mstate", "utf8");

/** Bucket, namespace and name of a document or tombstone row's key. */
export function parseDocumentRowKey(rowKey: Uint8Array): DocumentKey {
  return parseStem(asBuffer(rowKey).subarray(1));
}

/** Where the part of a key that begins at `from` ends. */
export function partEnd(parts: Buffer, from: number): number {
  let end = parts.indexOf(END, from);
  while (parts[end + 1] === ESCAPED) end = parts.indexOf(END, end + 2);
  return end;
}

/** Bucket, namespace and name of a stem. */
export function parseStem(stem: Buffer): DocumentKey {
  const parts: string[] = [];
  let from = 0;
  while (parts.length < 3) {
    const end = partEnd(stem, from);
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

/** A part of a key in UTF-8, its 0x00 bytes escaped, and without an end. */
export function escape(part: string): Buffer {
  const bytes = Buffer.from(part, "utf8");
  if (!bytes.includes(END)) return bytes;
  const out: number[] = [];
  for (const byte of bytes) {
    out.push(byte);
    if (byte === END) out.push(ESCAPED);
  }
  return Buffer.from(out);
}

/**
 * Writes a part and its end, if the part is ASCII without 0x00: the same bytes as from {@link escape}, in half the time. Returns where the
 * next part begins; -1 where the part has other characters.
 */
export function writeAsciiPart(target: Buffer, at: number, part: string): number {
  for (let index = 0; index < part.length; index += 1) {
    const code = part.charCodeAt(index);
    if (code === END || code > 0x7f) return -1;
    target[at + index] = code;
  }
  target[at + part.length] = END;
  return at + part.length + 1;
}

/** What {@link escape} made of a part. */
export function unescape(bytes: Buffer): string {
  // UTF-8 has no byte 0xFF: each one is an escape's.
  return bytes.includes(END)
    ? Buffer.from(bytes.filter((byte) => byte !== ESCAPED)).toString("utf8")
    : bytes.toString("utf8");
}

/** Writes a whole number below 2^53 in {@link ID_BYTES} bytes, big-endian. */
export function writeId(target: Buffer, at: number, id: TxId): void {
  target.writeUInt32BE(Math.floor(id / 2 ** 32), at);
  target.writeUInt32BE(id >>> 0, at + 4);
}

/** Reads what {@link writeId} wrote. */
export function readId(source: Uint8Array, at: number): TxId {
  const bytes = asBuffer(source);
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** The same bytes as a buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
