import type { Json } from "@cairn/client";

/** What a field path leads to inside a document; undefined when there is nothing. */
export function fieldValue(document: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const name of path) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    const fields = value as { readonly [name: string]: Json };
    value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (value === undefined) return undefined;
  }
  return value;
}

/** A field's name as the names on the way to it. */
export function fieldPath(field: string): readonly string[] {
  return field.split(".");
}

/** The longest value of a field that is compared or indexed, in bytes of UTF-8. */
export const LONGEST_FIELD_VALUE = 1_024;

/** A value as `where` compares it: text as it is, a number or truth value as JSON writes it. Undefined for what is not indexed. */
export function comparableText(value: Json | undefined): string | undefined {
  if (typeof value === "boolean" || Number.isFinite(value)) return String(value);
  if (typeof value !== "string" || !value.isWellFormed()) return undefined;
  if (value.length * 3 <= LONGEST_FIELD_VALUE) return value;
  return Buffer.byteLength(value) <= LONGEST_FIELD_VALUE ? value : undefined;
}
