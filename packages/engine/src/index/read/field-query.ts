import { CairnError, type KvReader } from "@cairn/kv";
import { comparableText, MAX_FIELD_VALUE_BYTES } from "../../policies/field-values.ts";
import { fieldTexts } from "../fields/field-texts.ts";
import { activePolicies, type FieldIndex } from "../policies/active-policies.ts";
import { fieldCountKey, fieldKey } from "../rows/field-row-keys.ts";
import type { IndexState } from "../rows/index-state.ts";
import { ROW } from "../rows/row-keys.ts";
import { decodeNumber } from "../rows/row-values.ts";
import type { VersionValue } from "../rows/version-values.ts";

/** A condition on a field, as in `where=field:value`. */
export interface FieldQuery {
  readonly field: string;
  readonly value: string;
}

/** The conditions on a document: a value for each indexed field. */
export interface Wanted {
  readonly indexes: readonly FieldIndex[];
  readonly values: readonly string[];
}

/** Throws `REQUEST_INVALID` for an invalid condition or a field that is not indexed, `NOT_READY` while it is built. */
export async function wantedFields(
  reader: KvReader,
  bucket: string,
  queries: readonly FieldQuery[],
  state: IndexState,
): Promise<Wanted> {
  checkQueries(queries);
  // All documents share one array, because the search for the fields is prepared once for each array.
  const indexes: FieldIndex[] = [];
  for (const { field } of queries) indexes.push(await readyIndex(reader, bucket, field, state));
  return { indexes, values: queries.map(({ value }) => value) };
}

function checkQueries(queries: readonly FieldQuery[]): void {
  for (const [at, { field, value }] of queries.entries()) {
    if (comparableText(value) === undefined) {
      throw new CairnError(
        "REQUEST_INVALID",
        `A value in a condition must have at most ${MAX_FIELD_VALUE_BYTES} bytes.`,
        "Use a shorter value, because longer values are not indexed.",
      );
    }
    if (queries.findIndex((other) => other.field === field) === at) continue;
    throw new CairnError(
      "REQUEST_INVALID",
      `The field ${JSON.stringify(field)} is in more than one condition.`,
      "Send one request per value, because all conditions must hold and a field has only one value.",
    );
  }
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

export function hasValues({ indexes, values }: Wanted, bytes: VersionValue): boolean {
  const texts = fieldTexts(bytes, indexes);
  return values.every((value, at) => texts[at] === value);
}

/** A condition, which selects a range of rows. */
export interface IndexedValue {
  readonly index: FieldIndex;
  readonly value: string;
}

/** Returns the condition that the fewest documents meet, so that as few documents as possible must be examined. */
export async function rarestOf(reader: KvReader, { indexes, values }: Wanted): Promise<IndexedValue> {
  const counts = indexes.map(({ id }, at) => fieldCountKey(id, values[at] ?? ""));
  const rows = counts.length === 1 ? [] : await reader.getMany(counts);
  const many = counts.map((key, at) => {
    const row = rows[at];
    return row === undefined ? 0 : decodeNumber(key, row);
  });
  const at = many.indexOf(Math.min(...many));
  const [index, value] = [indexes[at], values[at]];
  if (index === undefined || value === undefined) throw new Error("there is no condition");
  return { index, value };
}
