import type { KvOperation, KvReader, KvStore } from "@cairn/kv";
import type { FieldIndex } from "../policies/active-policies.ts";
import { activePolicies } from "../policies/active-policies.ts";
import type { IndexState } from "./index-state.ts";
import { FieldCounts } from "./field-counts.ts";
import { FieldChanges } from "./field-changes.ts";
import type { FieldKnowledge } from "./field-rows.ts";
import { fieldTexts } from "./field-texts.ts";
import { fieldKey, fieldKeyIndex } from "./field-row-keys.ts";
import { documentRowPrefix, prefixEnd, ROW, rowsOfKind } from "./row-keys.ts";

/** One step reads no more, so that applying waits a few milliseconds for it. */
const ROWS_PER_STEP = 256;
const BYTES_PER_STEP = 1024 * 1024;

const EMPTY = new Uint8Array(0);

/** What is left to do for indexed fields that were added and removed. It differs from node to node, and no digest depends on it. */
export interface FieldWork extends FieldKnowledge {
  /** Indexed fields whose rows are to be removed. */
  readonly removals: readonly number[];
}

/** Nothing to do, and nothing known yet. */
export function noFieldWork(): FieldWork {
  return { builds: new Map(), removals: [], counts: new FieldCounts() };
}

/** Reads what is left to do. */
export async function readFieldWork(reader: KvReader): Promise<FieldWork> {
  const builds = new Map<number, Uint8Array>();
  const removals: number[] = [];
  for await (const rows of reader.range(rowsOfKind(ROW.fieldBuild))) {
    for (const [key, value] of rows) builds.set(fieldKeyIndex(key), value);
  }
  for await (const rows of reader.range(rowsOfKind(ROW.fieldRemoval))) {
    for (const [key] of rows) removals.push(fieldKeyIndex(key));
  }
  return { builds, removals, counts: new FieldCounts() };
}

/** The rows by which changed definitions begin: what is new is to be built, what is not there any more to be removed. */
export function fieldWorkRows(
  before: readonly { id: number }[],
  after: readonly { id: number }[],
): KvOperation[] {
  const [old, now] = [before, after].map((indexes) => new Set(indexes.map(({ id }) => id)));
  const rows: KvOperation[] = [];
  for (const { id } of after) {
    if (old?.has(id) !== true) rows.push({ type: "put", key: fieldKey(ROW.fieldBuild, id), value: EMPTY });
  }
  for (const { id } of before) {
    if (now?.has(id) === true) continue;
    rows.push({ type: "del", key: fieldKey(ROW.fieldBuild, id) });
    rows.push({ type: "put", key: fieldKey(ROW.fieldRemoval, id), value: EMPTY });
  }
  return rows;
}

/** Does a little of what is left; nothing may be applied meanwhile. Each step is one batch, so a node killed in it goes on there. */
export async function stepFieldWork(kv: KvStore, state: IndexState, work: FieldWork): Promise<FieldWork> {
  const [removal] = work.removals;
  if (removal !== undefined) {
    await remove(kv, removal);
    return await readFieldWork(kv);
  }
  const [first] = work.builds;
  if (first === undefined) return work;
  const all = [...(activePolicies(state)?.indexed.values() ?? [])].flat();
  const bucket = all.find(({ id }) => id === first[0])?.bucket;
  // Fields of one bucket that are equally far are built together: each document is parsed once.
  const indexes = all.filter((index) => {
    const built = work.builds.get(index.id);
    return index.bucket === bucket && built !== undefined && Buffer.compare(built, first[1]) === 0;
  });
  if (bucket === undefined) throw new Error(`field ${first[0]} is built but not indexed`);
  const built = await build(kv, bucket, indexes, first[1], work.counts);
  const builds = new Map(work.builds);
  for (const { id } of indexes) {
    if (built === undefined) builds.delete(id);
    else builds.set(id, built);
  }
  return { ...work, builds };
}

/** Answers the document row up to which they are built now; undefined when they are whole. */
async function build(
  kv: KvStore,
  bucket: string,
  indexes: readonly FieldIndex[],
  after: Uint8Array,
  counts: FieldCounts,
): Promise<Uint8Array | undefined> {
  const prefix = documentRowPrefix(bucket);
  const begin = after.length === 0 ? { gte: prefix } : { gt: after };
  const rows: KvOperation[] = [];
  const changes = new FieldChanges();
  let last: Uint8Array | undefined;
  let read = 0;
  let bytes = 0;
  scan: for await (const part of kv.range({ ...begin, lt: prefixEnd(prefix), limit: ROWS_PER_STEP })) {
    for (const [rowKey, value] of part) {
      if (bytes > BYTES_PER_STEP) break scan;
      const texts = fieldTexts(value, indexes);
      for (const [at, index] of indexes.entries()) {
        const text = texts[at];
        if (text !== undefined) changes.add(changes.make(index, text, rowKey));
      }
      read += 1;
      bytes += value.length;
      last = rowKey;
    }
  }
  const isWhole = read < ROWS_PER_STEP && bytes <= BYTES_PER_STEP;
  await changes.addTo(rows, kv, counts);
  for (const { id } of indexes) {
    const key = fieldKey(ROW.fieldBuild, id);
    rows.push(isWhole ? { type: "del", key } : { type: "put", key, value: last ?? after });
  }
  await kv.batch(rows);
  counts.written();
  return isWhole ? undefined : last;
}

async function remove(kv: KvStore, index: number): Promise<void> {
  const rows: KvOperation[] = [];
  for (const kind of [ROW.field, ROW.fieldCount]) {
    const gte = fieldKey(kind, index);
    for await (const part of kv.range({ gte, lt: fieldKey(kind, index + 1), limit: ROWS_PER_STEP * 4 })) {
      for (const [key] of part) rows.push({ type: "del", key });
    }
  }
  if (rows.length === 0) rows.push({ type: "del", key: fieldKey(ROW.fieldRemoval, index) });
  await kv.batch(rows);
}
