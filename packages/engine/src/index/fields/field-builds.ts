import { setImmediate } from "node:timers/promises";
import { type KvOperation, type KvReader, type KvRow, type KvStore, readAhead, resolvable } from "@cairn/kv";
import { type FieldIndex, activePolicies, type ActivePolicies } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import { FieldChanges } from "./field-changes.ts";
import { fieldTexts } from "./field-texts.ts";
import { fieldKey, fieldKeyIndex, rowsOfField } from "../rows/field-row-keys.ts";
import { allRows } from "../rows/row-cursor.ts";
import { NO_BYTES, sealed, unsealed } from "../rows/row-checksum.ts";
import { documentRowPrefix, prefixEnd, ROW, rowsOfKind } from "../rows/row-keys.ts";
import { checkedVersion } from "../rows/version-values.ts";

/** The maximum number of pages of documents in one step. A page has a few hundred documents. */
const PAGES_PER_STEP = 32;
/** The number of documents between two yields to the event loop. */
const DOCUMENTS_PER_TURN = 256;
const REMOVED_PER_STEP = 1024;
/** The maximum number of fields removed in one step. Each needs a search, even if it has no rows. */
const FIELDS_REMOVED_PER_STEP = 100;

/**
 * The indexed fields being built, each with the document row up to which it is built (empty before the build begins).
 * Rows of later documents are left to the build. All other fields are complete.
 */
export type FieldBuilds = ReadonlyMap<number, Uint8Array>;

/** Omits buckets in which no build has begun, because the builds will process the documents written there. */
export function begunFields(
  indexed: ActivePolicies["indexed"],
  builds: FieldBuilds,
): ActivePolicies["indexed"] {
  if (builds.size === 0) return indexed;
  const isBegun = ({ id }: FieldIndex): boolean => builds.get(id)?.length !== 0;
  return new Map([...indexed].filter(([, indexes]) => indexes.some(isBegun)));
}

/** Work that remains for added or removed indexed fields. It differs between nodes; no digest depends on it. */
interface FieldWork {
  readonly builds: FieldBuilds;
  /** The numbers of removed fields whose rows remain. */
  readonly removals: readonly number[];
}

export async function readFieldWork(reader: KvReader): Promise<FieldWork> {
  const builds = (await allRows(reader, rowsOfKind(ROW.fieldBuild))).map(
    ([key, value]) => [fieldKeyIndex(key), unsealed(key, value)] as const,
  );
  const removals = (await allRows(reader, rowsOfKind(ROW.fieldRemoval))).map(([key]) => fieldKeyIndex(key));
  return { builds: new Map(builds), removals };
}

/** Returns the rows that schedule the building of new fields and the removal of old fields. */
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
    rows.push({ type: "put", key: fieldKey(ROW.fieldRemoval, id), value: NO_BYTES });
  }
  return rows;
}

interface FieldStep {
  /** Returns whether another writer is waiting for the step to end. */
  isWanted(): boolean;
  /** Reports the number of documents processed since the last report. */
  onDocuments(count: number): void;
}

/**
 * Does part of the work: one page of documents if another writer waits, else up to `PAGES_PER_STEP`. No message may be
 * applied meanwhile. Each page is a batch, at which a killed node continues. After an error, the work must be read
 * again.
 */
async function stepFieldWork(
  kv: KvStore,
  state: IndexState,
  work: FieldWork,
  step: FieldStep,
): Promise<FieldWork> {
  if (work.removals.length > 0) return { ...work, removals: await remove(kv, work.removals) };
  const [first] = work.builds;
  if (first === undefined) return work;
  const all = [...activePolicies(state).indexed.values()].flat();
  const bucket = all.find(({ id }) => id === first[0])?.bucket;
  // Fields of one bucket with equal progress are built together, so that each document is read only once.
  const indexes = all.filter((index) => {
    const built = work.builds.get(index.id);
    return index.bucket === bucket && built !== undefined && Buffer.compare(built, first[1]) === 0;
  });
  if (bucket === undefined) throw new Error(`field ${first[0]} is built but not indexed`);
  const built = await new FieldBuild(kv, indexes).go(bucket, first[1], step);
  const builds = new Map(work.builds);
  for (const { id } of indexes) {
    if (built === undefined) builds.delete(id);
    else builds.set(id, built);
  }
  return { ...work, builds };
}

/** Builds fields of one bucket with equal progress. Processes a page while the rows of the previous one are written. */
class FieldBuild {
  readonly #kv: KvStore;
  readonly #indexes: readonly FieldIndex[];
  #writing: Promise<void> = Promise.resolve();

  constructor(kv: KvStore, indexes: readonly FieldIndex[]) {
    this.#kv = kv;
    this.#indexes = indexes;
  }

  /** An empty `after` means the first document. Returns the row up to which fields are built; undefined if complete. */
  async go(bucket: string, after: Uint8Array, step: FieldStep): Promise<Uint8Array | undefined> {
    const prefix = documentRowPrefix(bucket);
    const begin = after.length === 0 ? { gte: prefix } : { gt: after };
    let left = PAGES_PER_STEP;
    try {
      for await (const page of readAhead(this.#kv.range({ ...begin, lt: prefixEnd(prefix) }))) {
        const changes = await this.#changesOf(page);
        const last = page.at(-1)?.[0] ?? after;
        await this.#write(changes, (key) => ({ type: "put", key, value: sealed(key, last) }));
        step.onDocuments(page.length);
        left -= 1;
        if (left === 0 || step.isWanted()) return last;
      }
      await this.#write(new FieldChanges(), (key) => ({ type: "del", key }));
      return undefined;
    } finally {
      // Even after an error, the next writer must not begin before this write has ended.
      await this.#writing;
    }
  }

  async #changesOf(page: readonly KvRow[]): Promise<FieldChanges> {
    const changes = new FieldChanges();
    for (const [row, [rowKey, value]] of page.entries()) {
      const texts = fieldTexts(checkedVersion(rowKey, value), this.#indexes);
      for (const [at, index] of this.#indexes.entries()) {
        const text = texts[at];
        if (text !== undefined) changes.add(changes.make(index, text, rowKey));
      }
      if (row % DOCUMENTS_PER_TURN === DOCUMENTS_PER_TURN - 1) await setImmediate();
    }
    return changes;
  }

  /** Waits for the previous write, and starts writing rows, counts and progress. */
  async #write(changes: FieldChanges, built: (key: Uint8Array) => KvOperation): Promise<void> {
    await this.#writing;
    const rows: KvOperation[] = [];
    await changes.addTo(rows, this.#kv);
    for (const { id } of this.#indexes) rows.push(built(fieldKey(ROW.fieldBuild, id)));
    this.#writing = this.#kv.batch(rows);
    // The store has copied the rows. If they were kept until the write ends, the garbage collector would promote them
    // to the old generation, which would cost an eighth of the time.
    rows.length = 0;
    // The next write awaits this one and receives its error.
    this.#writing.catch(() => {});
  }
}

/** Removes rows of removed fields, several fields at once if they are small. Returns the fields with remaining rows. */
async function remove(kv: KvStore, removals: readonly number[]): Promise<readonly number[]> {
  const rows: KvOperation[] = [];
  let at = 0;
  for (; at < Math.min(removals.length, FIELDS_REMOVED_PER_STEP); at += 1) {
    const index = removals[at] ?? 0;
    for (const kind of [ROW.field, ROW.fieldCount]) {
      const limit = REMOVED_PER_STEP - rows.length;
      for (const [key] of await allRows(kv, { ...rowsOfField(kind, index), limit }))
        rows.push({ type: "del", key });
    }
    // This field may have more rows.
    if (rows.length >= REMOVED_PER_STEP) break;
    rows.push({ type: "del", key: fieldKey(ROW.fieldRemoval, index) });
  }
  await kv.batch(rows);
  return removals.slice(at);
}

/** Except for {@link workArrives}, only the current writer of the store may use it. */
export class FieldUpkeep {
  readonly #kv: KvStore;
  /** The remaining work; undefined if it must be read, or read again. */
  #work: FieldWork | undefined;
  #changed: () => void = () => {};

  constructor(kv: KvStore) {
    this.#kv = kv;
  }

  async work(): Promise<FieldWork> {
    this.#work ??= await readFieldWork(this.#kv);
    return this.#work;
  }

  /** Records that a batch was written. `isConfigured` is true if the batch may have changed the indexed fields. */
  written(isConfigured: boolean): void {
    if (!isConfigured) return;
    this.#work = undefined;
    this.#changed();
  }

  async step(state: IndexState, step: FieldStep): Promise<void> {
    const work = await this.work();
    // A failed step may have written some batches, so the remaining work must be read from the store.
    this.#work = undefined;
    this.#work = await stepFieldWork(this.#kv, state, work, step);
  }

  get isDone(): boolean {
    return this.#work !== undefined && this.#work.builds.size === 0 && this.#work.removals.length === 0;
  }

  async workArrives(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = resolvable();
    this.#changed = resolve;
    signal.addEventListener("abort", resolve);
    if (!signal.aborted && this.isDone) await promise;
    signal.removeEventListener("abort", resolve);
  }
}
