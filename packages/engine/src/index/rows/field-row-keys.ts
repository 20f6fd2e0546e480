import type { Json } from "@cairn/client";
import { comparableText } from "../../policies/field-values.ts";
import { NO_BYTES } from "./row-checksum.ts";
import { ROW, type RowKind, asBuffer, documentRowPrefix, END, escape, partEnd } from "./row-keys.ts";

const INDEX_BYTES = 4;

/** Returns the prefix of an indexed field's rows of a kind, or the key of its only row of that kind. */
export function fieldKey(kind: RowKind, index: number, rest: Uint8Array = NO_BYTES): Buffer {
  const key = Buffer.allocUnsafe(1 + INDEX_BYTES + rest.length);
  key[0] = kind;
  key.writeUInt32BE(index, 1);
  key.set(rest, 1 + INDEX_BYTES);
  return key;
}

/** Returns the range of an indexed field's rows of a kind. */
export function rowsOfField(kind: RowKind, index: number) {
  return { gte: fieldKey(kind, index), lt: fieldKey(kind, index + 1) };
}

export function fieldKeyIndex(key: Uint8Array): number {
  return asBuffer(key).readUInt32BE(1);
}

export function fieldKeyRest(key: Uint8Array): Buffer {
  return asBuffer(key).subarray(1 + INDEX_BYTES);
}

const SIGN_BIT = 1n << 63n;

/**
 * Returns a value as in the rows of an indexed field: its type, then the value in a form whose bytes are ordered as the
 * values are. That orders false, true, numbers and strings. Returns undefined if the value is not indexed.
 */
export function indexedText(value: Json | undefined): string | undefined {
  if (comparableText(value) === undefined) return undefined;
  if (typeof value === "string") return `s${value}`;
  if (typeof value !== "number") return value === true ? "b1" : "b0";
  const bytes = Buffer.allocUnsafe(8);
  // The sum turns -0 into 0.
  bytes.writeDoubleBE(value + 0);
  const bits = bytes.readBigUInt64BE();
  const ordered = bits < SIGN_BIT ? bits + SIGN_BIT : BigInt.asUintN(64, ~bits);
  return `n${ordered.toString(16).padStart(16, "0")}`;
}

/** Returns the text, as in `where=field:value`, of the value that {@link indexedText} encoded. */
export function textOfIndexed(indexed: string): string {
  if (indexed.startsWith("s")) return indexed.slice(1);
  if (indexed.startsWith("b")) return String(indexed === "b1");
  const ordered = BigInt(`0x${indexed.slice(1)}`);
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(ordered < SIGN_BIT ? BigInt.asUintN(64, ~ordered) : ordered - SIGN_BIT);
  return String(bytes.readDoubleBE());
}

/** Returns the prefix of the rows of an indexed field's value, each of which ends with a namespace and a name. */
export function fieldValuePrefix(index: number, indexed: string): Buffer {
  return fieldKey(ROW.field, index, Buffer.concat([escape(indexed), Buffer.from([END])]));
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

export function fieldRowDocument(key: Uint8Array, bucket: string): Buffer {
  const parts = fieldKeyRest(key);
  return Buffer.concat([documentRowPrefix(bucket), parts.subarray(partEnd(parts, 0) + 1)]);
}

export function fieldCountKey(index: number, indexed: string): Buffer {
  return fieldKey(ROW.fieldCount, index, Buffer.from(indexed, "utf8"));
}
