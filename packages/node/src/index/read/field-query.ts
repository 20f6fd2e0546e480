import { CairnError, type KvReader } from "@cairn/kv";
import { comparableText, MAX_FIELD_VALUE_BYTES } from "../../policies/field-values.ts";
import { fieldTexts } from "../fields/field-texts.ts";
import { activePolicies, type FieldIndex } from "../policies/active-policies.ts";
import { fieldCountKey, fieldKey } from "../rows/field-row-keys.ts";
import type { IndexState } from "../rows/index-state.ts";
import { ROW } from "../rows/row-keys.ts";
import { decodeNumber } from "../rows/row-values.ts";
import type { VersionValue } from "../rows/version-values.ts";

/** The documents whose field has a value, as `where=field:value` asks. */
export interface FieldQuery {
  readonly field: string;
  readonly value: string;
}

/** What the fields of a document have to be: a value for each index. */
export interface Wanted {
  readonly indexes: readonly FieldIndex[];
  readonly values: readonly string[];
}

/** What is asked about, once all of its indexes can answer. `REQUEST_INVALID` and `NOT_READY` as for a list. */
export async function wantedFields(
  reader: KvReader,
  bucket: string,
  queries: readonly FieldQuery[],
  state: IndexState,
): Promise<Wanted> {
  checkQueries(queries);
  // One array for all documents: what its fields are looked for by is worked out once for it.
  const indexes: FieldIndex[] = [];
  for (const { field } of queries) indexes.push(await readyIndex(reader, bucket, field, state));
  return { indexes, values: queries.map(({ value }) => value) };
}

function checkQueries(queries: readonly FieldQuery[]): void {
  for (const [at, { field, value }] of queries.entries()) {
    if (comparableText(value) === undefined) {
      throw new CairnError(
        "REQUEST_INVALID",
        `A value to look for has at most ${MAX_FIELD_VALUE_BYTES} bytes.`,
        {
          hint: "Longer ones are not indexed.",
        },
      );
    }
    if (queries.findIndex((other) => other.field === field) === at) continue;
    throw new CairnError("REQUEST_INVALID", `The field ${JSON.stringify(field)} is asked about twice.`, {
      hint: "All that is asked about has to hold, and a field has one value: ask once for each value.",
    });
  }
}

async function readyIndex(
  reader: KvReader,
  bucket: string,
  asked: string,
  state: IndexState,
): Promise<FieldIndex> {
  const indexes = activePolicies(state)?.indexed.get(bucket) ?? [];
  const index = indexes.find(({ field }) => field === asked);
  if (index === undefined) {
    const named = indexes.map(({ field }) => field).join(", ");
    throw new CairnError(
      "REQUEST_INVALID",
      `The field ${JSON.stringify(asked)} of ${bucket} is not indexed.`,
      {
        hint:
          named === ""
            ? `No field of ${bucket} is; the policy "indexes" names those that are (cairn policy apply).`
            : `Indexed are ${named}; the policy "indexes" names them (cairn policy apply).`,
      },
    );
  }
  if ((await reader.get(fieldKey(ROW.fieldBuild, index.id))) === undefined) return index;
  throw new CairnError("NOT_READY", `The index of the field ${asked} of ${bucket} is being built.`, {
    hint: "Ask again in a moment; GET /api/v1/buckets shows its counts once it is done.",
  });
}

/** Whether a version has all of them. */
export function hasValues({ indexes, values }: Wanted, bytes: VersionValue): boolean {
  const texts = fieldTexts(bytes, indexes);
  return values.every((value, at) => texts[at] === value);
}

/** One of them: what a range of rows is of. */
export interface FieldValue {
  readonly index: FieldIndex;
  readonly value: string;
}

/** The place of the value that the fewest documents have: its index names the fewest that are to be looked at. */
export async function rarestOf(reader: KvReader, { indexes, values }: Wanted): Promise<FieldValue> {
  const counts = indexes.map(({ id }, at) => fieldCountKey(id, values[at] ?? ""));
  const rows = counts.length === 1 ? [] : await reader.getMany(counts);
  const many = counts.map((key, at) => {
    const row = rows[at];
    return row === undefined ? 0 : decodeNumber(key, row);
  });
  const at = many.indexOf(Math.min(...many));
  const [index, value] = [indexes[at], values[at]];
  if (index === undefined || value === undefined) throw new Error("nothing is asked about");
  return { index, value };
}
