import {
  systemClock,
  type KvOperation,
  type KvPurge,
  type KvPurged,
  type KvPurging,
  type KvStore,
  type KvPurgeRange,
  Semaphore,
} from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexState } from "../rows/index-state.ts";
import { erasuresUpTo, evictionsAfter, type PurgeMark, purgeRow, readPurgeMarks } from "../rows/purge-row.ts";
import { allRows } from "../rows/row-cursor.ts";
import { unsealed } from "../rows/row-checksum.ts";
import {
  erasedContentKey,
  parseNumberedStem,
  parseStem,
  partEnd,
  ROW,
  versionRange,
} from "../rows/row-keys.ts";
import { evictedStems } from "./evicted-versions.ts";
import { fieldKeyRest, rowsOfField } from "../rows/field-row-keys.ts";

/** The reason why evicted bytes are still in the files. It is `unknown` if the store does not report it. */
export type PurgeHeld = Exclude<KvPurged, "gone" | "named"> | "unknown";

/** Evictions up to `txId` are purged; `held` is why later ones are not (undefined if there are none). */
export interface PurgeReport {
  readonly txId: TxId;
  readonly held: PurgeHeld | undefined;
}

/** More at once would require more memory, and their ranges would soon cover the whole index anyway. */
const MAX_EVICTIONS = 10_000;

/** Overwrites evicted data in an index's files, in the order of the evictions, and records progress in the index. */
export class EvictionPurge {
  readonly #kv: KvStore;
  /** Serializes writers whose writes depend on the contents of the store. */
  readonly #writing: Semaphore;
  readonly #running = new Semaphore();
  #marks: readonly PurgeMark[] | undefined;
  #begun: { readonly txId: TxId; readonly purge: KvPurge } | undefined;
  /** The reason why the last run did not purge the evictions after the last mark. */
  held: PurgeHeld | undefined;

  constructor(kv: KvStore, writing: Semaphore) {
    this.#kv = kv;
    this.#writing = writing;
  }

  /**
   * Purges for about `withinMs`; the next run continues. `state` returns the index's current state. Throws
   * `INDEX_CORRUPT`, the errors of writes to the store, and the reason of `signal`.
   */
  async run(
    { withinMs, signal }: Pick<KvPurging, "withinMs" | "signal">,
    state: () => IndexState,
  ): Promise<PurgeReport> {
    return await this.#running.run(async () => {
      const end = performance.now() + withinMs;
      const alone = (work: () => Promise<void>): Promise<void> => this.#writing.run(work);
      for (;;) {
        this.#marks ??= await this.#readMarks();
        const { txId = 0 } = this.#marks.at(-1) ?? {};
        this.#begun ??= await this.#begin(txId, state());
        if (this.#begun === undefined) return { txId, held: this.held };
        const left = Math.max(0, end - performance.now());
        this.held = await this.#go(this.#begun, { alone, withinMs: left, ...(signal && { signal }) });
        if (this.held !== undefined) return { txId, held: this.held };
      }
    });
  }

  /** Begins a purge; returns undefined if nothing has been evicted since `after`, or the store cannot purge. */
  async #begin(after: TxId, state: IndexState): Promise<{ txId: TxId; purge: KvPurge } | undefined> {
    // Versions that have not been removed would survive in the new files.
    const removed = state.evicting === true ? state.txId - 1 : state.txId;
    const range = { ...evictionsAfter(after, removed), limit: MAX_EVICTIONS + 1 };
    const evicted = (await allRows(this.#kv, range)).map(([key, value]) => {
      unsealed(key, value);
      return parseNumberedStem(key);
    });
    this.held = undefined;
    const last = evicted.at(-1);
    if (last === undefined) return undefined;
    if (this.#kv.purge === undefined) {
      this.held = "unknown";
      return undefined;
    }
    // The page may end within a transaction. A transaction that is larger than a page is read as a whole.
    const whole =
      evicted.length > MAX_EVICTIONS ? evicted.filter(({ number }) => number < last.number) : evicted;
    const txId = whole.at(-1)?.number ?? last.number;
    const stems = whole.length > 0 ? whole.map(({ stem }) => stem) : await evictedStems(this.#kv, txId);
    const ranges = [...evictedRanges(stems, state), ...(await this.#erasedRanges(txId))];
    return { txId, purge: this.#kv.purge(ranges) };
  }

  /** Returns the ranges of documents that evictions up to `txId` removed; the last one includes those beyond the limit. */
  async #erasedRanges(txId: TxId): Promise<KvPurgeRange[]> {
    const ranges: KvPurgeRange[] = [];
    for await (const rows of this.#kv.range(erasuresUpTo(txId))) {
      for (const [key, value] of rows) {
        unsealed(key, value);
        const gte = erasedContentKey(key);
        const lt = Buffer.concat([gte, AFTER]);
        const last = ranges.at(-1);
        if (last === undefined || ranges.length < MAX_EVICTIONS) ranges.push({ gte, lt });
        else ranges[ranges.length - 1] = spanOf(last, { gte, lt });
      }
    }
    return ranges;
  }

  async #forgetErasures(txId: TxId): Promise<void> {
    for await (const rows of this.#kv.range(erasuresUpTo(txId))) {
      const removed = rows.map(([key]): KvOperation => ({ type: "del", key }));
      await this.#writing.run(async () => await this.#kv.batch(removed));
    }
  }

  /** Returns the reason why the purge is blocked; undefined once the purge is done and recorded. */
  async #go(
    { txId, purge }: { txId: TxId; purge: KvPurge },
    options: KvPurging,
  ): Promise<PurgeHeld | undefined> {
    const purged = await purge.run(options);
    if (purged === "unfinished" || purged === "read") return purged;
    const mark = { txId, at: systemClock.now(), ...(purged === "named" ? { named: true as const } : {}) };
    await this.#record([...(this.#marks ?? []), mark]);
    await this.#forgetErasures(txId);
    this.#begun = undefined;
    return undefined;
  }

  /** The store was reopened since the last mark, so files with only field values (`named`) have been replaced. */
  async #readMarks(): Promise<readonly PurgeMark[]> {
    const marks = await readPurgeMarks(this.#kv);
    if (!marks.some(({ named }) => named)) return marks;
    const now = systemClock.now();
    return await this.#record(marks.map(({ txId, at, named }) => ({ txId, at: named === true ? now : at })));
  }

  async #record(marks: readonly PurgeMark[]): Promise<readonly PurgeMark[]> {
    await this.#writing.run(async () => await this.#kv.batch([purgeRow(marks)]));
    this.#marks = marks;
    return marks;
  }
}

const AFTER = Buffer.from([0]);

function spanOf(one: KvPurgeRange, other: KvPurgeRange): KvPurgeRange {
  const isFirst = Buffer.compare(one.gte, other.gte) <= 0;
  const isLast = Buffer.compare(one.lt, other.lt) >= 0;
  return { gte: isFirst ? one.gte : other.gte, lt: isLast ? one.lt : other.lt };
}

/**
 * Returns the key ranges in which the files may hold evicted content of `stems`: document rows, versions and, because
 * earlier values are unknown, all rows of the bucket's indexed fields and of removed ones. Other rows about an eviction
 * contain only its key.
 */
export function evictedRanges(stems: readonly Buffer[], { policies }: IndexState): KvPurgeRange[] {
  const ranges: KvPurgeRange[] = [];
  const buckets = new Set<string>();
  for (const stem of stems) {
    const document = Buffer.concat([Buffer.from([ROW.document]), stem]);
    ranges.push({ gte: document, lt: Buffer.concat([document, AFTER]) });
    ranges.push(versionRange(stem));
    buckets.add(parseStem(stem).bucket);
  }
  if (policies === undefined) return ranges;
  const keys = new Set(stems.map((stem) => withoutBucket(stem)));
  const others = new Set(policies.indexes.filter(({ bucket }) => !buckets.has(bucket)).map(({ id }) => id));
  for (let id = 0; id < policies.nextIndex; id++) {
    if (others.has(id)) continue;
    const field = (key: Uint8Array): boolean => keys.has(withoutBucket(fieldKeyRest(key)));
    ranges.push({ ...rowsOfField(ROW.field, id), keys: field });
    // A count does not show which documents it counts.
    ranges.push({ ...rowsOfField(ROW.fieldCount, id), keys: () => true });
  }
  return ranges;
}

/** The namespace and name of a stem, or of what follows the field's number in a field row's key. */
function withoutBucket(parts: Buffer): string {
  return parts.toString("latin1", partEnd(parts, 0) + 1);
}
