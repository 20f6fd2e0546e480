import { setImmediate } from "node:timers/promises";
import type { KvOperation, KvReader, KvStore } from "@cairn/kv";
import { type FieldIndex, activePolicies, type ActivePolicies } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import { bytesOf, documentPages, type RowPage } from "./document-pages.ts";
import { FieldCounts } from "./field-counts.ts";
import { FieldChanges } from "./field-changes.ts";
import { fieldTexts } from "./field-texts.ts";
import { fieldKey, fieldKeyIndex } from "../rows/field-row-keys.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { documentRowPrefix, prefixEnd, ROW, rowsOfKind } from "../rows/row-keys.ts";
import { checkedVersion } from "../rows/version-values.ts";

/** A step ends after so many pages of documents, a few hundred each. */
const PAGES_PER_STEP = 32;
/** After so many documents whatever else the event loop has comes in between. */
const DOCUMENTS_AT_ONCE = 256;
/** Rows removed in one step. */
const REMOVED_PER_STEP = 1024;
/** Fields removed in one step: each is looked for, whether it has rows or none. */
const FIELDS_REMOVED_PER_STEP = 100;

const EMPTY = new Uint8Array(0);

/**
 * Indexed fields whose rows are being built, with the document row up to which they are (empty: none yet). Those that are not here
 * are whole. What is behind that row is left to the building.
 */
export type FieldBuilds = ReadonlyMap<number, Uint8Array>;

/** Indexed fields by bucket, without the buckets where nobody has begun to build any: what is written there is left to the building. */
export function begunFields(
  indexed: ActivePolicies["indexed"],
  builds: FieldBuilds,
): ActivePolicies["indexed"] {
  if (builds.size === 0) return indexed;
  const isBegun = ({ id }: FieldIndex): boolean => builds.get(id)?.length !== 0;
  return new Map([...indexed].filter(([, indexes]) => indexes.some(isBegun)));
}

/** What is known of a store's indexed fields by whoever writes to it. */
export interface FieldKnowledge {
  readonly builds: FieldBuilds;
  readonly counts: FieldCounts;
}

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
    for (const [key, value] of rows) builds.set(fieldKeyIndex(key), unsealed(key, value));
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
    if (old?.has(id) === true) continue;
    const key = fieldKey(ROW.fieldBuild, id);
    rows.push({ type: "put", key, value: sealed(key) });
  }
  for (const { id } of before) {
    if (now?.has(id) === true) continue;
    rows.push({ type: "del", key: fieldKey(ROW.fieldBuild, id) });
    rows.push({ type: "put", key: fieldKey(ROW.fieldRemoval, id), value: EMPTY });
  }
  return rows;
}

/** How a step goes on. */
export interface FieldStep {
  /** Whether somebody waits for the step to end. */
  isWanted(): boolean;
  /** So many more documents are done. */
  onDocuments(count: number): void;
}

/**
 * Does a part of what is left; nothing may be applied meanwhile. It is over after a page of documents as soon as somebody waits for it, else
 * after some more. Pages are batches of their own, so a node killed in it goes on there; after an error what is left has to be read again.
 */
export async function stepFieldWork(
  kv: KvStore,
  state: IndexState,
  work: FieldWork,
  step: FieldStep,
): Promise<FieldWork> {
  if (work.removals.length > 0) return { ...work, removals: await remove(kv, work.removals) };
  const [first] = work.builds;
  if (first === undefined) return work;
  const all = [...(activePolicies(state)?.indexed.values() ?? [])].flat();
  const bucket = all.find(({ id }) => id === first[0])?.bucket;
  // Fields of one bucket that are equally far are built together: each document is read once.
  const indexes = all.filter((index) => {
    const built = work.builds.get(index.id);
    return index.bucket === bucket && built !== undefined && Buffer.compare(built, first[1]) === 0;
  });
  if (bucket === undefined) throw new Error(`field ${first[0]} is built but not indexed`);
  const built = await new FieldBuild(kv, indexes, work.counts).go(bucket, first[1], step);
  const builds = new Map(work.builds);
  for (const { id } of indexes) {
    if (built === undefined) builds.delete(id);
    else builds.set(id, built);
  }
  return { ...work, builds };
}

/** The building of fields of one bucket that are equally far. A page is looked at while the rows of the one before are written. */
class FieldBuild {
  readonly #kv: KvStore;
  readonly #indexes: readonly FieldIndex[];
  readonly #counts: FieldCounts;
  /** The last batch. */
  #writing: Promise<void> = Promise.resolve();

  constructor(kv: KvStore, indexes: readonly FieldIndex[], counts: FieldCounts) {
    this.#kv = kv;
    this.#indexes = indexes;
    this.#counts = counts;
  }

  /** Goes on behind the document row `after` (empty: at the first). Answers the row up to which they are built; undefined: they are whole. */
  async go(bucket: string, after: Uint8Array, step: FieldStep): Promise<Uint8Array | undefined> {
    const prefix = documentRowPrefix(bucket);
    const begin = after.length === 0 ? { gte: prefix } : { gt: after };
    let left = PAGES_PER_STEP;
    try {
      for await (const page of documentPages(this.#kv, begin, prefixEnd(prefix))) {
        const changes = await this.#changesOf(page);
        const last = bytesOf(page.at(-1)?.[0] ?? after);
        await this.#write(changes, (key) => ({ type: "put", key, value: sealed(key, last) }));
        step.onDocuments(page.length);
        left -= 1;
        if (left === 0 || step.isWanted()) return last;
      }
      await this.#write(new FieldChanges(), (key) => ({ type: "del", key }));
      return undefined;
    } finally {
      // Whoever writes next, also after an error, does so behind it.
      await this.#writing;
    }
  }

  async #changesOf(page: RowPage): Promise<FieldChanges> {
    const changes = new FieldChanges();
    for (const [row, [key, value]] of page.entries()) {
      const rowKey = bytesOf(key);
      const texts = fieldTexts(checkedVersion(rowKey, bytesOf(value)), this.#indexes);
      for (const [at, index] of this.#indexes.entries()) {
        const text = texts[at];
        if (text !== undefined) changes.add(changes.make(index, text, rowKey));
      }
      if (row % DOCUMENTS_AT_ONCE === DOCUMENTS_AT_ONCE - 1) await setImmediate();
    }
    return changes;
  }

  /** Writes rows and counts, and how far the fields are built with them, once what was written before is. */
  async #write(changes: FieldChanges, built: (key: Uint8Array) => KvOperation): Promise<void> {
    await this.#writing;
    const rows: KvOperation[] = [];
    await changes.addTo(rows, this.#kv, this.#counts);
    for (const { id } of this.#indexes) rows.push(built(fieldKey(ROW.fieldBuild, id)));
    this.#writing = this.#kv.batch(rows).then(() => this.#counts.written());
    // The store has copied them. Kept until they are written, they grow old now and then, which the heap's collection takes an eighth of
    // the time for.
    rows.length = 0;
    // Told to whoever waits for it next.
    this.#writing.catch(() => {});
  }
}

/** Removes rows of removed fields, of several at once where they have few. Answers the fields that have some left. */
async function remove(kv: KvStore, removals: readonly number[]): Promise<readonly number[]> {
  const rows: KvOperation[] = [];
  let at = 0;
  for (; at < Math.min(removals.length, FIELDS_REMOVED_PER_STEP); at += 1) {
    const index = removals[at] ?? 0;
    for (const kind of [ROW.field, ROW.fieldCount]) {
      const gte = fieldKey(kind, index);
      const limit = REMOVED_PER_STEP - rows.length;
      for await (const part of kv.range({ gte, lt: fieldKey(kind, index + 1), limit })) {
        for (const [key] of part) rows.push({ type: "del", key });
      }
    }
    // There may be more of this one.
    if (rows.length >= REMOVED_PER_STEP) break;
    rows.push({ type: "del", key: fieldKey(ROW.fieldRemoval, index) });
  }
  await kv.batch(rows);
  return removals.slice(at);
}
