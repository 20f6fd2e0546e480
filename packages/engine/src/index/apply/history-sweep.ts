import { inParallel, type KvReader, type KvRow } from "@cairn/kv";
import { madeOnce } from "@cairn/text";
import type { TxId } from "@cairn/client";
import type { ActivePolicies, Bound } from "../policies/active-policies.ts";
import { OTHER_BUCKETS } from "../../policies/policy-problems.ts";
import { allRows, firstRow } from "../rows/row-cursor.ts";
import { headsOf } from "../rows/index-rows.ts";
import type { IndexState } from "../rows/index-state.ts";
import {
  asKind,
  documentRowPrefix,
  ID_BYTES,
  prefixEnd,
  ROW,
  rowsOfKind,
  versionRevision,
  versionRowKey,
  versionStem,
} from "../rows/row-keys.ts";
import {
  checkedHead,
  headLength,
  readAllNewest,
  versionValueRevision,
  versionValueTime,
} from "../rows/version-values.ts";

/**
 * History is swept cyclically. At intervals, a sweep examines a number of rows that is proportional to the number of
 * versions superseded since the previous sweep. The cost of a version is therefore independent of the size of the
 * index, and a changed bound requires no additional work. These constants are part of the index version.
 */
const SWEEP_EVERY = 256;
/** With 2, the number of rows beyond their bound is at most about a third of the number within it. */
const ROWS_PER_VERSION = 2;
const MIN_ROWS = 512;
const MAX_ROWS = 65_536;
/** A key with versions beyond the bound that reaches the end of a page of rows costs one row more. */
const PAGE_ROWS = 1_000;
const PAGE_BYTES = 256 * 1024;
/** How many keys are searched for versions at once. This is no part of the index version. */
const RANGES_AT_ONCE = 16;
/** Versions superseded within this number of transactions are kept for paged lists and lagging watchers. */
export const RECENT_TRANSACTIONS = 1_000;

/**
 * The position at which the next sweep continues. It consists of the segment, the row key (in hex) before which to
 * continue (sweeps run backwards), and the stem (in hex) of the current key with the number of its newest versions that
 * were seen and kept.
 */
type SweepCursor = NonNullable<IndexState["sweep"]>;

/** The versions beyond the bounds that a sweep has found. */
export interface Swept {
  readonly versions: Uint8Array[];
  /** The document row keys of deletions without older versions. */
  readonly tombstones: Buffer[];
  /** The latest transaction that superseded a removed version, by bucket. */
  readonly floors: Map<string, TxId>;
  /** The revision of the latest removed version. */
  pruned: TxId;
  cursor: SweepCursor | undefined;
}

/** Returns the number of transactions from `txId` to the next one that sweeps, or 0 if `txId` itself sweeps. */
export function untilSweep(txId: TxId): number {
  return (SWEEP_EVERY - (txId % SWEEP_EVERY)) % SWEEP_EVERY;
}

export interface SweepingTransaction {
  readonly txId: TxId;
  readonly time: number;
  /** The number of versions that have been superseded since the previous sweep. */
  readonly superseded: number;
}

/** Sweeps a part of the history as it was before the given transaction, and before which the state was `before`. */
export async function sweepHistory(
  reader: KvReader,
  history: ActivePolicies["history"],
  { sweep: cursor }: Pick<IndexState, "sweep">,
  now: SweepingTransaction,
): Promise<Swept> {
  const sweep = new Sweep(reader, now, cursor);
  const bounds = await boundsByBucket(reader, history);
  const segments = bounds.toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(segmentsOf);
  const from = segments.findIndex(({ name }) => name === cursor?.segment);
  for (const segment of segments.slice(Math.max(from, 0))) {
    await sweep.run(segment);
    if (sweep.budget <= 0) break;
  }
  return sweep.swept;
}

async function boundsByBucket(
  reader: KvReader,
  history: ActivePolicies["history"],
): Promise<(readonly [string, Bound])[]> {
  const others = history.get(OTHER_BUCKETS);
  if (others === undefined) return [...history];
  const bounds = new Map(history);
  bounds.delete(OTHER_BUCKETS);
  // A bucket has counters from its first document on.
  for (const [key] of await allRows(reader, rowsOfKind(ROW.counter)))
    madeOnce(bounds, Buffer.from(key.subarray(1)).toString("utf8"), () => others);
  return [...bounds];
}

interface Segment {
  readonly name: string;
  readonly kind: typeof ROW.version | typeof ROW.tombstone;
  readonly bucket: string;
  readonly bound: Bound;
}

function segmentsOf([bucket, bound]: readonly [string, Bound]): Segment[] {
  const versions: Segment = { name: `h ${bucket}`, kind: ROW.version, bucket, bound };
  const tombstones: Segment = { name: `d ${bucket}`, kind: ROW.tombstone, bucket, bound };
  return bound.age === Infinity ? [versions] : [versions, tombstones];
}

interface Written {
  readonly revision: TxId;
  readonly time: number;
}

interface CurrentKey {
  stem: Uint8Array;
  /** The number of versions of the key that were seen and are kept. */
  seen: number;
  /** The write that superseded the next version to examine; undefined if it has not been looked up or is not needed. */
  newer: Written | undefined;
}

class Sweep {
  readonly swept: Swept;
  /** The number of rows that may still be examined or removed. */
  budget: number;
  readonly #reader: KvReader;
  readonly #now: SweepingTransaction;
  #resume: SweepCursor | undefined;

  constructor(reader: KvReader, now: SweepingTransaction, resume: SweepCursor | undefined) {
    this.#reader = headsOf(reader);
    this.#now = now;
    this.#resume = resume;
    this.budget = Math.min(MAX_ROWS, Math.max(MIN_ROWS, ROWS_PER_VERSION * now.superseded));
    this.swept = { versions: [], tombstones: [], floors: new Map(), pruned: 0, cursor: undefined };
  }

  /** Sweeps a segment from its last key to its first, so that the versions of a key come newest first. */
  async run(segment: Segment): Promise<void> {
    const gte = asKind(documentRowPrefix(segment.bucket), segment.kind);
    const resume = this.#resume?.segment === segment.name ? this.#resume : undefined;
    this.#resume = undefined;
    let lt: Uint8Array = resume === undefined ? prefixEnd(gte) : Buffer.from(resume.key, "hex");
    const key: CurrentKey = {
      stem: Buffer.from(resume?.stem ?? "", "hex"),
      seen: resume?.seen ?? 0,
      newer: undefined,
    };
    while (this.budget > 0) {
      let next: Uint8Array | undefined;
      const range = this.#reader.range({ gte, lt, reverse: true, limit: this.budget });
      for await (const rows of pagesOf(range)) {
        const page = await (segment.kind === ROW.version
          ? this.#versions(segment, rows, key)
          : this.#tombstones(segment, rows));
        if (page === "stopped") return;
        next = page.next;
        if (page.isJump) break;
      }
      if (next === undefined) return;
      lt = next;
    }
    this.#stop(segment, lt, key.stem, key.seen);
  }

  /**
   * Examines a page of versions. Returns the key before which to continue, or "stopped" if the budget is exhausted.
   * `isJump` is set if a new read must begin there, because the next rows were removed.
   */
  async #versions(segment: Segment, rows: readonly KvRow[], key: CurrentKey): Promise<Page | "stopped"> {
    const { bucket, bound } = segment;
    const isLookedUp = bound.keep === 0 || bound.age !== Infinity;
    const superseding = isLookedUp ? await this.#supersedingAll(bound, rows, key.stem) : [];
    let next = rows[0]?.[0] ?? new Uint8Array(0);
    for (let at = 0; at < rows.length; at += 1) {
      const [versionKey, value] = rows[at] as KvRow;
      this.budget -= 1;
      next = versionKey;
      if (!isOfStem(versionKey, key.stem)) {
        key.stem = versionStem(versionKey);
        key.seen = 0;
        key.newer = superseding[at];
      } else if (key.newer === undefined && (key.seen > 0 || isLookedUp)) {
        key.newer = await this.#superseding(versionKey);
      }
      key.seen += 1;
      const written = writtenBy(checkedHead(versionKey, value));
      if (key.newer === undefined || !this.#isBeyond(bound, key.seen, key.newer)) {
        key.newer = written;
        continue;
      }
      // All older versions are beyond the bound as well.
      let end = at + 1;
      while (end < rows.length && isOfStem((rows[end] as KvRow)[0], key.stem)) end += 1;
      if (end < rows.length) {
        this.#remove(rows.slice(at, end), bucket, key.newer);
        this.budget -= end - at - 1;
        next = (rows[end - 1] as KvRow)[0];
        at = end - 1;
        continue;
      }
      const jump = await this.#removeUpTo(versionKey, bucket, key.newer);
      key.newer = undefined;
      if (jump !== undefined) return { next: jump, isJump: true };
      // The budget is exhausted. The oldest versions were removed first, so none is missing between two kept ones.
      this.#stop(segment, Buffer.concat([versionKey, Buffer.alloc(1)]), key.stem, key.seen - 1);
      return "stopped";
    }
    return { next, isJump: false };
  }

  /** Removes all versions of a key up to the first of `rows`, which contains every remaining version, newest first. */
  #remove(rows: readonly KvRow[], bucket: string, newer: Written): void {
    const { versions, floors } = this.swept;
    for (const [key, value] of rows) {
      checkedHead(key, value);
      versions.push(key);
    }
    const newest = versionRevision((rows[0] as KvRow)[0]);
    this.swept.pruned = Math.max(this.swept.pruned, newest);
    floors.set(bucket, Math.max(floors.get(bucket) ?? 0, newer.revision));
  }

  #stop({ name }: Segment, key: Uint8Array, stem: Uint8Array, seen: number): void {
    this.budget = 0;
    this.swept.cursor = { segment: name, key: hex(key), stem: hex(stem), seen };
  }

  #isBeyond({ keep, age }: Bound, seen: number, newer: Written): boolean {
    return this.#isOld(newer) && (seen > keep || newer.time + age <= this.#now.time);
  }

  #isOld({ revision }: Written): boolean {
    return revision <= this.#now.txId - RECENT_TRANSACTIONS;
  }

  /**
   * Returns the writes that superseded the newest versions of the keys in a page, each at the index of its version in
   * the page. The entry of a version that cannot be beyond the bound is undefined.
   */
  async #supersedingAll(
    bound: Bound,
    rows: readonly KvRow[],
    before: Uint8Array,
  ): Promise<(Written | undefined)[]> {
    const places: number[] = [];
    const rowKeys: Buffer[] = [];
    let stem = before;
    for (const [at, [key, value]] of rows.entries()) {
      if (isOfStem(key, stem)) continue;
      stem = versionStem(key);
      // A version is superseded later than it was written, so the superseding write of a version that is younger than
      // the bound need not be looked up.
      if (!this.#isBeyond(bound, 1, writtenBy(checkedHead(key, value)))) continue;
      places.push(at);
      rowKeys.push(Buffer.concat([Buffer.from([ROW.document]), stem]));
    }
    const found: (Written | undefined)[] = [];
    for (const [at, value] of (await readAllNewest(this.#reader, rowKeys)).entries())
      found[places[at] as number] = value && writtenBy(value);
    return found;
  }

  async #superseding(versionKey: Uint8Array): Promise<Written | undefined> {
    const rowKey = Buffer.concat([Buffer.from([ROW.document]), versionStem(versionKey)]);
    const lt = versionRowKey(rowKey, Number.MAX_SAFE_INTEGER);
    const newer = await firstRow(this.#reader, { gt: versionKey, lt });
    if (newer !== undefined) return writtenBy(checkedHead(...newer));
    const [newest] = await readAllNewest(this.#reader, [rowKey]);
    return newest && writtenBy(newest);
  }

  /** Removes the oldest first. Returns the first possible row key of the versions; undefined if the budget ran out. */
  async #removeUpTo(newest: Uint8Array, bucket: string, newer: Written): Promise<Uint8Array | undefined> {
    const gte = asKind(Buffer.concat([Buffer.alloc(1), versionStem(newest)]), ROW.version);
    const { versions, floors } = this.swept;
    let floor = floors.get(bucket) ?? 0;
    // The limit is at least one version, so that a single version can be removed.
    let left = Math.max(this.budget, 1);
    const known = versions.length;
    let isDone = false;
    for await (const rows of this.#reader.range({ gte, lte: newest, limit: left + 1 })) {
      for (const [key, value] of rows) {
        checkedHead(key, value);
        // This version superseded the previous one.
        if (versions.length > known) floor = Math.max(floor, versionRevision(key));
        if (left === 0) break;
        left -= 1;
        versions.push(key);
        this.swept.pruned = Math.max(this.swept.pruned, versionRevision(key));
        isDone = Buffer.compare(key, newest) === 0;
      }
    }
    if (isDone) floor = Math.max(floor, newer.revision);
    floors.set(bucket, floor);
    this.budget = left;
    return isDone ? gte : undefined;
  }

  /** Examines a page of tombstones, and removes those that are old and whose key has no older versions. */
  async #tombstones({ bound: { age } }: Segment, rows: readonly KvRow[]): Promise<Page> {
    this.budget -= rows.length;
    const old = rows.filter(([key, value]) => {
      const written = writtenBy(checkedHead(key, value));
      return this.#isOld(written) && written.time + age <= this.#now.time;
    });
    const kept = new Set<Uint8Array>();
    await inParallel(old, RANGES_AT_ONCE, async ([key]) => {
      const gte = asKind(key, ROW.version);
      if ((await firstRow(this.#reader, { gte, lt: prefixEnd(gte) })) !== undefined) kept.add(key);
    });
    for (const [key] of old) if (!kept.has(key)) this.swept.tombstones.push(asKind(key, ROW.document));
    return { next: rows.at(-1)?.[0] ?? new Uint8Array(0), isJump: false };
  }
}

/** Divides rows as a store would that has their documents in place, so that pages follow from the log alone. */
async function* pagesOf(range: AsyncIterable<readonly KvRow[]>): AsyncGenerator<readonly KvRow[], void> {
  let page: KvRow[] = [];
  let bytes = 0;
  for await (const rows of range) {
    for (const row of rows) {
      page.push(row);
      bytes += row[0].length + headLength(row[1]);
      if (bytes <= PAGE_BYTES && page.length < PAGE_ROWS) continue;
      yield page;
      page = [];
      bytes = 0;
    }
  }
  if (page.length > 0) yield page;
}

interface Page {
  /** The key before which to continue. */
  readonly next: Uint8Array;
  readonly isJump: boolean;
}

function writtenBy(value: Uint8Array): Written {
  return { revision: versionValueRevision(value), time: versionValueTime(value) };
}

function isOfStem(versionKey: Uint8Array, stem: Uint8Array): boolean {
  return versionKey.length === 1 + stem.length + ID_BYTES && versionStem(versionKey).equals(stem);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
