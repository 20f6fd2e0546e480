import type { Json } from "@cairn/client";
import { ownMember } from "@cairn/text";

export function fieldValue(document: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const name of path) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    value = ownMember(value as { readonly [name: string]: Json }, name);
    if (value === undefined) return undefined;
  }
  return value;
}

export function fieldPath(field: string): readonly string[] {
  return field.split(".");
}

/** The maximum size of a field value that is compared and indexed, in bytes of UTF-8. */
export const MAX_FIELD_VALUE_BYTES = 1_024;

/** Returns a value as in `where=field:value`: strings unchanged, numbers and booleans as in JSON; undefined if not indexed. */
export function comparableText(value: Json | undefined): string | undefined {
  if (typeof value === "boolean" || Number.isFinite(value)) return String(value);
  if (typeof value !== "string" || !value.isWellFormed()) return undefined;
  if (value.length * 3 <= MAX_FIELD_VALUE_BYTES) return value;
  return Buffer.byteLength(value) <= MAX_FIELD_VALUE_BYTES ? value : undefined;
}
