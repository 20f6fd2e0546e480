import type { KvReader } from "@cairn/kv";
import type { ClientBuckets, FieldSummary } from "@cairn/client";
import { activePolicies, type FieldIndex } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import { fieldKey, fieldKeyRest, rowsOfField, textOfIndexed } from "../rows/field-row-keys.ts";
import { allRows, readEach } from "../rows/row-cursor.ts";
import { ROW, rowsOfKind } from "../rows/row-keys.ts";
import { decodeCounters, decodeNumber } from "../rows/row-values.ts";

const MAX_VALUES = 1_000;
/** The values of a field that are shown have at most this size (bytes). Each may have a KiB. */
const MAX_VALUE_BYTES = 64 * 1024;
/** If there are many fields, their values have at most this size together. */
const MAX_ALL_VALUES_BYTES = 4 * 1024 * 1024;

/** Returns all buckets that have or had documents or that have indexed fields, ordered by name. Reads no documents. */
export async function readBuckets(reader: KvReader, state: IndexState): Promise<ClientBuckets> {
  const indexed = activePolicies(state).indexed;
  const documents = new Map<string, number>();
  for (const bucket of indexed.keys()) documents.set(bucket, 0);
  for (const [key, value] of await allRows(reader, rowsOfKind(ROW.counter)))
    documents.set(Buffer.from(key.subarray(1)).toString("utf8"), decodeCounters(key, value).documents);
  const fields = [...indexed.values()].flat();
  const maxBytes = Math.min(MAX_VALUE_BYTES, MAX_ALL_VALUES_BYTES / fields.length);
  const counted = await readEach(fields, async (index) => {
    return { ...index, counts: await readCounts(reader, index, maxBytes) };
  });
  const buckets = [...documents]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => {
      const ofBucket = counted.filter(({ bucket }) => bucket === name);
      const summaries = ofBucket.map(({ field, counts }) => [field, counts] as const);
      return { name, documents: count, fields: Object.fromEntries(summaries) };
    });
  return { txId: state.txId, buckets };
}

async function readCounts(reader: KvReader, { id }: FieldIndex, maxBytes: number): Promise<FieldSummary> {
  if ((await reader.get(fieldKey(ROW.fieldBuild, id))) !== undefined) return { counts: null, more: false };
  const rows = await allRows(reader, { ...rowsOfField(ROW.fieldCount, id), limit: MAX_VALUES + 1 });
  const counts = new Map<string, number>();
  let bytes = 0;
  for (const [key, value] of rows.slice(0, MAX_VALUES)) {
    bytes += key.length;
    if (bytes > maxBytes) return { counts: Object.fromEntries(counts), more: true };
    // The number 3 and the string "3" are one value here.
    const text = textOfIndexed(fieldKeyRest(key).toString("utf8"));
    counts.set(text, (counts.get(text) ?? 0) + decodeNumber(key, value));
  }
  return { counts: Object.fromEntries(counts), more: rows.length > MAX_VALUES };
}
