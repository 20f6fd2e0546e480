import { ROW, type RowKind, asBuffer, END, escape } from "./row-keys.ts";

const EMPTY = new Uint8Array(0);
const INDEX_BYTES = 4;

/** Returns the prefix of an indexed field's rows of a kind, or the key of its only row of that kind. */
export function fieldKey(kind: RowKind, index: number, rest: Uint8Array = EMPTY): Buffer {
  const key = Buffer.allocUnsafe(1 + INDEX_BYTES + rest.length);
  key[0] = kind;
  key.writeUInt32BE(index, 1);
  key.set(rest, 1 + INDEX_BYTES);
  return key;
}

export function fieldKeyIndex(key: Uint8Array): number {
  return asBuffer(key).readUInt32BE(1);
}

export function fieldKeyRest(key: Uint8Array): Buffer {
  return asBuffer(key).subarray(1 + INDEX_BYTES);
}

/** Returns the prefix of the rows of an indexed field's value, each of which ends with a namespace and a name. */
export function fieldValuePrefix(index: number, value: string): Buffer {
  return fieldKey(ROW.field, index, Buffer.concat([escape(value), Buffer.from([END])]));
}

/** The row records that a document (`rowKey`) has a value (`prefix`, from {@link fieldValuePrefix}). */
export function fieldRowKey(prefix: Uint8Array, rowKey: Uint8Array, bucket: string): Buffer {
  // This skips the kind, the bucket (whose characters are one byte each) and the byte that ends it. The indexed field's
  // number implies the bucket.
  const from = bucket.length + 2;
  const key = Buffer.allocUnsafe(prefix.length + rowKey.length - from);
  key.set(prefix);
  // Copying so few bytes is faster than creating a view of them.
  for (let at = from; at < rowKey.length; at++) key[prefix.length + at - from] = rowKey[at] ?? 0;
  return key;
}

export function fieldCountKey(index: number, value: string): Buffer {
  return fieldKey(ROW.fieldCount, index, Buffer.from(value, "utf8"));
}
