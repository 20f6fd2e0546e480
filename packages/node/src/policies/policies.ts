import type { Json } from "../tx-log/transaction.ts";

/** Values that a field may have for a rule to hold; one alone stands for a list of one. */
export type FieldValues = FieldValue | readonly FieldValue[];

/** What a field can be compared with. */
export type FieldValue = string | number | boolean;

/** ISO-8601 text (no years or months), or milliseconds. */
export type PolicyDuration = string | number;

/** When documents of a bucket go by themselves: so long after their last write, where every field of `when` has one of its values. */
export interface ExpirePolicy {
  /** All of the bucket's documents when left out. A field inside another is written `outer.inner`. */
  readonly when?: { readonly [field: string]: FieldValues };
  readonly after: PolicyDuration;
}

/** How much stays: at most so many, and none older. What is left out bounds nothing. */
export interface BoundPolicy {
  readonly keep?: number;
  readonly for?: PolicyDuration;
}

/** Rules that change what every node computes. They live in the log (docs/policies.md). */
export interface Policies {
  /** By bucket, the fields whose values lists can ask for. A field inside another is written `outer.inner`. */
  readonly indexes?: { readonly [bucket: string]: readonly string[] };
  /** By bucket. */
  readonly expire?: { readonly [bucket: string]: ExpirePolicy };
  /** By bucket, how much of the past of each document stays. */
  readonly history?: { readonly [bucket: string]: BoundPolicy };
  /** How many recorded events stay, of all nodes and buckets together; 100,000 of any age when left out. */
  readonly events?: BoundPolicy;
}

/** Policies as the log has them; `revision` is the transaction that set them, null where none did. */
export interface PolicyState {
  readonly revision: number | null;
  readonly policies: Policies;
}

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
