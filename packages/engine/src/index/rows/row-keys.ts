import type { DocumentKey, TxId } from "@cairn/client";

/*
 * Every row's key begins with one byte for its kind. In documents, tombstones and versions the *stem* follows: bucket,
 * namespace and name, each ended by 0x00, so that rows are in the order of the contract (namespace, then name, by UTF-8
 * bytes). A 0x00 inside a part is written 0x00 0xFF; UTF-8 never contains the byte 0xFF, so nothing that can follow the
 * end of a part sorts after it.
 */

/** The kinds of rows. docs/internals/index-format.md describes the keys and values of each. */
export const ROW = {
  openEntry: 0x61, // a: queue, shard, the transaction that enqueued the entry, place in it
  fieldBuild: 0x62, // b: index; how far an indexed field is built
  document: 0x63, // c: stem; its current version
  tombstone: 0x64, // d: stem; its last write was a deletion
  event: 0x65, // e: time, tx-id, place in the transaction
  field: 0x66, // f: index, value, namespace, name
  version: 0x68, // h: a superseded version; stem, then its revision
  submission: 0x69, // i: an idempotency id
  submissionOrder: 0x6a, // j: tx-id; the idempotency id that it used
  link: 0x6b, // k: tx-id; the values of the two chains
  meta: 0x6d, // m
  counter: 0x6e, // n: bucket; its documents and tombstones
  expired: 0x6f, // o: tx-id, then the stem whose document expired
  place: 0x70, // p: queue, name; the shard of an entry
  due: 0x71, // q: time, then the stem of a document that may then expire
  chainEntries: 0x72, // r: tx-id; what some of the newest messages add to the chains
  shard: 0x73, // s: queue, shard; its state and counts
  transaction: 0x74, // t: tx-id; its outcome
  fieldCount: 0x76, // v: index, value; number of documents that have it
  content: 0x77, // w: revision, stem; the document of a version
  eviction: 0x78, // x: tx-id, then the stem that was evicted
  erasure: 0x79, // y: tx-id of an eviction, then the rest of the key of a content row that it removed
  fieldRemoval: 0x7a, // z: index; its rows are being removed
} as const;

export type RowKind = (typeof ROW)[keyof typeof ROW];

/** The byte that ends a part of a key. */
export const END = 0x00;
/** The byte that follows a 0x00 inside a part. */
export const ESCAPED = 0xff;
/** The number of bytes of a tx-id, a time or a count. */
export const ID_BYTES = 8;

/** Returns the document row's key; `key` is `namespace/name`. The row keys of other kinds are derived from it. */
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

export function documentKeyRow(key: DocumentKey): Buffer {
  const { bucket, namespace, name } = key;
  const rowKey = Buffer.allocUnsafe(bucket.length + namespace.length + name.length + 4);
  rowKey[0] = ROW.document;
  let at = writeAsciiPart(rowKey, 1, bucket);
  if (at >= 0) at = writeAsciiPart(rowKey, at, namespace);
  if (at >= 0) at = writeAsciiPart(rowKey, at, name);
  return at < 0 ? encodeDocumentKey(key) : rowKey;
}

/** Encodes a document row's key that may contain any characters. This is the slow path. */
function encodeDocumentKey({ bucket, namespace, name }: DocumentKey): Buffer {
  const end = Buffer.from([END]);
  const kind = Buffer.from([ROW.document]);
  return Buffer.concat([kind, escape(bucket), end, escape(namespace), end, escape(name), end]);
}

export function asKind(rowKey: Uint8Array, kind: RowKind): Buffer {
  const copy = Buffer.from(rowKey);
  copy[0] = kind;
  return copy;
}

export function versionRange(stem: Buffer): { gte: Buffer; lt: Buffer } {
  const gte = Buffer.concat([Buffer.from([ROW.version]), stem]);
  return { gte, lt: prefixEnd(gte) };
}

/** Returns the row key of the version that was written at `revision`, given the document row's key. */
export function versionRowKey(rowKey: Uint8Array, revision: TxId): Buffer {
  const key = Buffer.allocUnsafe(rowKey.length + ID_BYTES);
  key.set(rowKey);
  key[0] = ROW.version;
  writeId(key, rowKey.length, revision);
  return key;
}

/** Returns the key of the row with the document of a version, given the key of its document or version row. */
export function contentRowKey(rowKey: Uint8Array, revision: TxId): Buffer {
  const end = rowKey[0] === ROW.version ? rowKey.length - ID_BYTES : rowKey.length;
  return numberedStemKey(ROW.content, revision, rowKey.subarray(0, end));
}

export function erasureRowKey(txId: TxId, contentKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.erasure, txId, contentKey);
}

export function versionRevision(versionKey: Uint8Array): TxId {
  return readId(versionKey, versionKey.length - ID_BYTES);
}

export function versionStem(versionKey: Uint8Array): Buffer {
  return asBuffer(versionKey).subarray(1, versionKey.length - ID_BYTES);
}

export function txRowKey(kind: TxRowKind, txId: TxId): Buffer {
  const key = Buffer.allocUnsafe(1 + ID_BYTES);
  key[0] = kind;
  writeId(key, 1, txId);
  return key;
}

type TxRowKind = Extract<
  RowKind,
  typeof ROW.transaction | typeof ROW.submissionOrder | typeof ROW.link | typeof ROW.chainEntries
>;

export function transactionRowKey(txId: TxId): Buffer {
  return txRowKey(ROW.transaction, txId);
}

export function rowTxId(key: Uint8Array): TxId {
  return readId(key, 1);
}

export function erasedContentKey(erasureKey: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([ROW.content]), erasureKey.subarray(1 + ID_BYTES)]);
}

export function evictionRowKey(txId: TxId, rowKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.eviction, txId, rowKey);
}

export function expiredRowKey(txId: TxId, rowKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.expired, txId, rowKey);
}

/** Returns the key of the row that schedules another examination of a document's key at `time`. */
export function dueRowKey(time: number, rowKey: Uint8Array): Buffer {
  return numberedStemKey(ROW.due, time, rowKey);
}

/** A row key without a stem: the first possible row with a given number. */
export const NO_STEM = new Uint8Array(1);

function numberedStemKey(kind: RowKind, number: number, rowKey: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(ID_BYTES + rowKey.length);
  key[0] = kind;
  writeId(key, 1, number);
  key.set(rowKey.subarray(1), 1 + ID_BYTES);
  return key;
}

/** Returns the number (a tx-id or a time) and the stem in the key of an eviction, expired or due row. */
export function parseNumberedStem(key: Uint8Array): { number: number; stem: Buffer } {
  return { number: readId(key, 1), stem: asBuffer(key).subarray(1 + ID_BYTES) };
}

export function rowsOfKind(kind: RowKind): { gte: Buffer; lt: Buffer } {
  const gte = Buffer.from([kind]);
  return { gte, lt: prefixEnd(gte) };
}

export function submissionRowKey(id: string): Buffer {
  return Buffer.from(`i${id}`, "utf8");
}

export function counterRowKey(bucket: string): Buffer {
  return Buffer.from(`n${bucket}`, "utf8");
}

/** Returns the row key of an event; `time` is in nanoseconds since 1970. */
export function eventRowKey(time: bigint, txId: TxId, place: number): Buffer {
  const key = Buffer.allocUnsafe(1 + ID_BYTES + ID_BYTES + 4);
  key[0] = ROW.event;
  key.writeBigUInt64BE(time, 1);
  writeId(key, 1 + ID_BYTES, txId);
  key.writeUInt32BE(place, 1 + ID_BYTES + ID_BYTES);
  return key;
}

export function eventRowTime(key: Uint8Array): bigint {
  return asBuffer(key).readBigUInt64BE(1);
}

export function eventRowOrigin(key: Uint8Array): { txId: TxId; place: number } {
  return { txId: readId(key, 1 + ID_BYTES), place: asBuffer(key).readUInt32BE(1 + ID_BYTES + ID_BYTES) };
}

export const STATE_ROW_KEY: Uint8Array = Buffer.from("mstate", "utf8");

export function parseDocumentRowKey(rowKey: Uint8Array): DocumentKey {
  return parseStem(asBuffer(rowKey).subarray(1));
}

export function partEnd(parts: Buffer, from: number): number {
  let end = parts.indexOf(END, from);
  while (parts[end + 1] === ESCAPED) end = parts.indexOf(END, end + 2);
  return end;
}

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

/** Returns the first key after all keys that begin with `prefix`. */
export function prefixEnd(prefix: Uint8Array): Buffer {
  let length = prefix.length;
  // The prefix ends a part. An escaped 0x00 would belong to another, longer part, which sorts after everything that
  // follows an end.
  if (prefix[length - 1] === END) return Buffer.concat([prefix, Buffer.from([ESCAPED])]);
  // A prefix ends with 0xFF only if it ends with an escaped 0x00.
  while (prefix[length - 1] === ESCAPED) length -= 1;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

/** Returns the prefix of the document rows of a bucket, of a namespace in it, or of names that begin with `prefix`. */
export function documentRowPrefix(bucket: string, namespace?: string, prefix = ""): Buffer {
  if (namespace === undefined) return Buffer.from(`c${bucket}\0`, "utf8");
  const parts = [Buffer.from(`c${bucket}\0`, "utf8"), escape(namespace), Buffer.from([END]), escape(prefix)];
  return Buffer.concat(parts);
}

/** Encodes a part of a key in UTF-8, with 0x00 bytes escaped and without the byte that ends the part. */
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
 * Writes a part and its end if the part is ASCII without 0x00. The bytes are the same as with {@link escape}, but are
 * written in half the time. Returns the offset of the next part; -1 if the part has other characters.
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

function unescape(bytes: Buffer): string {
  // UTF-8 has no byte 0xFF, so each such byte belongs to an escape.
  return bytes.includes(END)
    ? Buffer.from(bytes.filter((byte) => byte !== ESCAPED)).toString("utf8")
    : bytes.toString("utf8");
}

/** Writes a whole number below 2^53 in {@link ID_BYTES} bytes, big-endian. */
export function writeId(target: Buffer, at: number, id: TxId): void {
  target.writeUInt32BE(Math.floor(id / 2 ** 32), at);
  target.writeUInt32BE(id >>> 0, at + 4);
}

export function readId(source: Uint8Array, at: number): TxId {
  const bytes = asBuffer(source);
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The store returns all values of a read together, so the number of keys depends on the largest document. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

export function keysPerRead(largest: number): number {
  return Math.max(1, Math.floor(MAX_READ_BYTES / Math.max(largest, 1)));
}
