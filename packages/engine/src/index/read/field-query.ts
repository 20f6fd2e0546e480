import { CairnError, type KvReader } from "@cairn/kv";
import type { DocumentSelection, Json } from "@cairn/client";
import { madeOnce, parsedJson } from "@cairn/text";
import { comparableText, MAX_FIELD_VALUE_BYTES } from "../../policies/field-values.ts";
import { fieldTexts } from "../fields/field-texts.ts";
import { activePolicies, type FieldIndex } from "../policies/active-policies.ts";
import { fieldCountKey, fieldKey, fieldValuePrefix, indexedText } from "../rows/field-row-keys.ts";
import type { IndexState } from "../rows/index-state.ts";
import { prefixEnd, ROW } from "../rows/row-keys.ts";
import { decodeNumber } from "../rows/row-values.ts";
import type { VersionValue } from "../rows/version-values.ts";
import type { AsOf } from "./documents.ts";

/** `:` compares values as text, so that 3 equals "3". The others select values of one type: that of the bound. */
type FieldOperator = ":" | ">" | ">=" | "<" | "<=";

/** A condition on a field, as in `where=state:running` or `where=age>=18`. */
export interface FieldQuery {
  readonly field: string;
  /** Defaults to `:`. */
  readonly is?: FieldOperator;
  readonly value: string | number;
}

export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

export interface WantedField {
  readonly index: FieldIndex;
  /** The values that equal the wanted one ({@link indexedText}); empty if any value within `rows` is wanted. */
  readonly values: readonly string[];
  readonly rows: readonly KeyRange[];
}

/** The conditions on documents, and the order in which to list them. */
export interface Wanted {
  readonly fields: readonly WantedField[];
  /** The indexes of `fields`. All documents share the array, because their search is prepared once for each array. */
  readonly indexes: readonly FieldIndex[];
  /** Undefined for a list in key order. */
  readonly order: Order | undefined;
}

/** The order of a list: by the values of a field, and by keys among equal ones. */
export interface Order {
  /** The place of the field in {@link Wanted.fields}. */
  readonly at: number;
  /** Whether the list begins with the greatest value and, among equal ones, the last key. */
  readonly isReverse: boolean;
}

/** The documents of a list, and their order. */
export interface ListSelection extends DocumentSelection {
  readonly bucket: string;
  readonly asOf?: AsOf;
  /**
   * Selects only documents whose indexed fields meet all these conditions: for each field, one value or range, which may
   * have a lower and an upper bound. Throws REQUEST_INVALID if a field is not indexed, and NOT_READY while its index is
   * being built.
   */
  readonly where?: FieldQuery | readonly FieldQuery[];
  /**
   * Lists the documents that have a value in this indexed field by these values or, with `-` before the field, in
   * reverse. Defaults to the field of the first range in `where`; without one, the list is in key order. Throws as
   * `where` does.
   */
  readonly order?: string;
}

/** Throws `REQUEST_INVALID` for an invalid condition or a field that is not indexed, `NOT_READY` while it is built. */
export async function wantedFields(
  reader: KvReader,
  { bucket, where: conditions = [], order }: Pick<ListSelection, "bucket" | "where" | "order">,
  state: IndexState,
): Promise<Wanted> {
  const where = [conditions].flat();
  const queries = new Map<string, FieldQuery[]>();
  for (const query of where) {
    checkQuery(query, queries.get(query.field) ?? []);
    madeOnce(queries, query.field, () => []).push(query);
  }
  const isReverse = order?.startsWith("-") === true;
  const ordered = isReverse ? order.slice(1) : (order ?? where.find((query) => !isEquality(query))?.field);
  if (ordered !== undefined) madeOnce(queries, ordered, () => []);
  const fields: WantedField[] = [];
  for (const [field, on] of queries)
    fields.push(wantedField(await readyIndex(reader, bucket, field, state), on));
  const at = fields.findIndex(({ index }) => index.field === ordered);
  return { fields, indexes: fields.map(({ index }) => index), order: at < 0 ? undefined : { at, isReverse } };
}

function isEquality({ is = ":" }: FieldQuery): boolean {
  return is === ":";
}

function isLower({ is = ":" }: FieldQuery): boolean {
  return is.startsWith(">");
}

function checkQuery(query: FieldQuery, [other, ...more]: readonly FieldQuery[]): void {
  const { field, value } = query;
  if (comparableText(value) === undefined) {
    throw new CairnError(
      "REQUEST_INVALID",
      `A value in a condition must have at most ${MAX_FIELD_VALUE_BYTES} bytes and be valid Unicode, and a number must be finite.`,
      "Use another value, because such values are not indexed.",
    );
  }
  if (other === undefined) return;
  const areRange = ![query, other].some(isEquality) && isLower(query) !== isLower(other);
  if (areRange && more.length === 0) return;
  throw new CairnError(
    "REQUEST_INVALID",
    `The field ${JSON.stringify(field)} is in more than one condition.`,
    "Send one request per value or range, because all conditions must hold and a field has only one value. Only a lower and an upper bound of a field are one range.",
  );
}

function wantedField(index: FieldIndex, queries: readonly FieldQuery[]): WantedField {
  const [first] = queries;
  if (first !== undefined && isEquality(first)) {
    const all: readonly Json[] = [String(first.value), false, true, Number(first.value)];
    const equal = all.filter((value) => comparableText(value) === String(first.value));
    const values = equal.flatMap((value) => indexedText(value) ?? []);
    return { index, values, rows: values.map((value) => rowsWith(fieldValuePrefix(index.id, value))) };
  }
  let [gte, lt] = [fieldKey(ROW.field, index.id), fieldKey(ROW.field, index.id + 1)];
  for (const query of queries) {
    const text = indexedText(query.value) ?? "";
    const type = rowsWith(fieldKey(ROW.field, index.id, Buffer.from(text.slice(0, 1))));
    const bound = rowsWith(fieldValuePrefix(index.id, text));
    // Both ends are those of the type, except the one that the bound moves.
    const from = query.is === ">=" ? bound.gte : query.is === ">" ? bound.lt : type.gte;
    const to = query.is === "<=" ? bound.lt : query.is === "<" ? bound.gte : type.lt;
    if (Buffer.compare(from, gte) > 0) gte = from;
    if (Buffer.compare(to, lt) < 0) lt = to;
  }
  return { index, values: [], rows: [{ gte, lt }] };
}

export function rowsWith(prefix: Buffer): KeyRange {
  return { gte: prefix, lt: prefixEnd(prefix) };
}

async function readyIndex(
  reader: KvReader,
  bucket: string,
  asked: string,
  state: IndexState,
): Promise<FieldIndex> {
  const indexes = activePolicies(state).indexed.get(bucket) ?? [];
  const index = indexes.find(({ field }) => field === asked);
  if (index === undefined) {
    const named = indexes.map(({ field }) => field).join(", ");
    throw new CairnError(
      "REQUEST_INVALID",
      `The field ${JSON.stringify(asked)} of ${bucket} is not indexed.`,
      named === ""
        ? `Add the field to the policy "indexes" (cairn policy apply). No field of ${bucket} is indexed.`
        : `Use an indexed field (${named}), or add this one to the policy "indexes" (cairn policy apply).`,
    );
  }
  if ((await reader.get(fieldKey(ROW.fieldBuild, index.id))) === undefined) return index;
  throw new CairnError(
    "NOT_READY",
    `The index of the field ${asked} of ${bucket} is being built.`,
    "Try again in a moment. GET /api/v1/buckets shows the counts of the field once its index has been built.",
  );
}

/** Returns whether a document meets all conditions and, in an ordered list, has a value to be ordered by. */
export function hasValues({ fields, indexes }: Wanted, bytes: VersionValue): boolean {
  const texts = fieldTexts(bytes, indexes);
  return fields.every(({ index, rows }, at) => {
    const text = texts[at];
    return text !== undefined && isAmong(rows, fieldValuePrefix(index.id, text));
  });
}

export function isAmong(rows: readonly KeyRange[], key: Uint8Array): boolean {
  return rows.some(({ gte, lt }) => Buffer.compare(key, gte) >= 0 && Buffer.compare(key, lt) < 0);
}

/**
 * Returns the field whose wanted value the fewest documents have, and their number, so that as few documents as possible
 * must be examined; undefined if no field has a single wanted value. The field that orders the list does not count.
 */
export async function rarestOf(
  reader: KvReader,
  { fields, order }: Wanted,
): Promise<{ readonly field: WantedField; readonly count: number } | undefined> {
  const equal = fields.filter(({ values }, at) => values.length > 0 && at !== order?.at);
  const keys = equal.map(({ index, values }) => values.map((value) => fieldCountKey(index.id, value)));
  const rows = (await reader.getMany(keys.flat())).values();
  const counted = equal.map((field, at) => {
    let count = 0;
    for (const key of keys[at] ?? []) {
      const row = rows.next().value;
      if (row !== undefined) count += decodeNumber(key, row);
    }
    return { field, count };
  });
  return counted.toSorted((a, b) => a.count - b.count)[0];
}

/** The form of a condition. Clients may use it too. */
export const FIELD_CONDITION = /^([^:<>]+)(:|[<>]=?)([\s\S]*)$/;

/** Parses a condition such as `state:running` or `age>=18`. Returns undefined for any other text. */
export function parseFieldQuery(text: string): FieldQuery | undefined {
  const [, field, is, rest] = FIELD_CONDITION.exec(text) ?? [];
  if (field === undefined || rest === undefined) return undefined;
  if (is === ":") return { field, value: rest };
  const bound = parsedJson(rest);
  const value = typeof bound === "number" || typeof bound === "string" ? bound : rest;
  return { field, is: is as NonNullable<FieldQuery["is"]>, value };
}
