import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { ActivePolicies, Bound } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import {
  asKind,
  documentRowPrefix,
  prefixEnd,
  ROW,
  versionRevision,
  versionRowKey,
  versionStem,
} from "../rows/row-keys.ts";
import {
  checkedVersion,
  readNewest,
  type VersionValue,
  versionValueRevision,
  versionValueTime,
} from "../rows/version-values.ts";

/*
 * History is swept cyclically: a bounded part at every SWEEP_EVERY transactions, so that writes cost nothing extra and a changed bound
 * needs no other work. These three constants are part of the index version.
 */
const SWEEP_EVERY = 64;
const ROWS_PER_SWEEP = 1_000;
/** Versions superseded within this many transactions are kept, for lists that continue and watchers that lag. */
export const RECENT_TRANSACTIONS = 1_000;

/**
 * The position at which the next sweep continues: the segment; the row key (hex) before which to continue, since sweeps run backwards; the
 * stem (hex) of the current key, and how many of its newest versions were seen and are kept.
 */
type SweepCursor = NonNullable<IndexState["sweep"]>;

/** The versions beyond the bounds that one sweep found. */
export interface Swept {
  readonly versions: Uint8Array[];
  /** The document row keys of deletions without older versions. */
  readonly tombstones: Buffer[];
  /** The latest transaction that superseded a removed version, by bucket. */
  readonly floors: Map<string, TxId>;
  /** The latest removed version. */
  pruned: TxId;
  cursor: SweepCursor | undefined;
}

/** Returns the number of transactions from `txId` to the next one that sweeps; 0 if `txId` itself sweeps. */
export function untilSweep(txId: TxId): number {
  return (SWEEP_EVERY - (txId % SWEEP_EVERY)) % SWEEP_EVERY;
}

/** Sweeps a part of the history as it was before transaction `txId`. */
export async function sweepHistory(
  reader: KvReader,
  history: ActivePolicies["history"],
  cursor: SweepCursor | undefined,
  now: { readonly txId: TxId; readonly time: number },
): Promise<Swept> {
  const sweep = new Sweep(reader, now, cursor);
  const segments = [...history].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(segmentsOf);
  const from = segments.findIndex(({ name }) => name === cursor?.segment);
  for (const segment of segments.slice(Math.max(from, 0))) {
    await sweep.run(segment);
    if (sweep.budget <= 0) break;
  }
  return sweep.swept;
}

interface Segment {
  readonly name: string;
  readonly kind: typeof ROW.version | typeof ROW.tombstone;
  readonly bucket: string;
  readonly bound: Bound;
}

function segmentsOf([bucket, bound]: [string, Bound]): Segment[] {
  const versions: Segment = { name: `h ${bucket}`, kind: ROW.version, bucket, bound };
  const tombstones: Segment = { name: `d ${bucket}`, kind: ROW.tombstone, bucket, bound };
  return bound.age === Infinity ? [versions] : [versions, tombstones];
}

interface Written {
  readonly revision: TxId;
  readonly time: number;
}

class Sweep {
  readonly swept: Swept;
  /** The number of rows that may still be examined or removed. */
  budget = ROWS_PER_SWEEP;
  readonly #reader: KvReader;
  readonly #now: { readonly txId: TxId; readonly time: number };
  #resume: SweepCursor | undefined;

  constructor(
    reader: KvReader,
    now: { readonly txId: TxId; readonly time: number },
    resume: SweepCursor | undefined,
  ) {
    this.#reader = reader;
    this.#now = now;
    this.#resume = resume;
    this.swept = { versions: [], tombstones: [], floors: new Map(), pruned: 0, cursor: undefined };
  }

  /** Sweeps a segment from its last key to its first, so that a key's versions come newest first. */
  async run(segment: Segment): Promise<void> {
    const gte = asKind(documentRowPrefix(segment.bucket), segment.kind);
    const resume = this.#resume?.segment === segment.name ? this.#resume : undefined;
    this.#resume = undefined;
    let lt: Uint8Array = resume === undefined ? prefixEnd(gte) : Buffer.from(resume.key, "hex");
    let stem = resume?.stem ?? "";
    let seen = resume?.seen ?? 0;
    // The write that superseded the current version; undefined until it is looked up, as for a key's newest version.
    let newer: Written | undefined;
    while (this.budget > 0) {
      let last: Uint8Array | undefined;
      let jump: Uint8Array | undefined;
      rows: for await (const rows of this.#reader.range({ gte, lt, reverse: true, limit: this.budget })) {
        for (const [key, value] of rows) {
          this.budget -= 1;
          last = key;
          const written = writtenBy(checkedVersion(key, value));
          if (segment.kind === ROW.tombstone) {
            await this.#tombstone(key, written, segment.bound);
            continue;
          }
          const itsStem = versionStem(key).toString("hex");
          if (itsStem !== stem) {
            stem = itsStem;
            seen = 0;
            newer = undefined;
          }
          newer ??= await this.#superseding(key);
          seen += 1;
          if (newer === undefined || !this.#isBeyond(segment.bound, seen, newer)) {
            newer = written;
            continue;
          }
          // All older versions are beyond the bound as well.
          jump = await this.#removeUpTo(key, segment.bucket, newer);
          if (jump !== undefined) break rows;
          // The budget is exhausted. The oldest versions were removed first, so none is missing between two that are kept.
          this.#stop(segment, successor(key), stem, seen - 1);
          return;
        }
      }
      if (jump === undefined && last === undefined) return;
      lt = jump ?? last ?? lt;
      if (jump !== undefined) newer = undefined;
    }
    this.#stop(segment, lt, stem, seen);
  }

  #stop({ name }: Segment, key: Uint8Array, stem: string, seen: number): void {
    this.budget = 0;
    this.swept.cursor = { segment: name, key: Buffer.from(key).toString("hex"), stem, seen };
  }

  #isBeyond({ keep, age }: Bound, seen: number, newer: Written): boolean {
    return this.#isOld(newer) && (seen > keep || newer.time + age <= this.#now.time);
  }

  #isOld({ revision }: Written): boolean {
    return revision <= this.#now.txId - RECENT_TRANSACTIONS;
  }

  /** Returns the write that superseded a version. */
  async #superseding(versionKey: Uint8Array): Promise<Written | undefined> {
    const rowKey = Buffer.concat([Buffer.from([ROW.document]), versionStem(versionKey)]);
    const lt = versionRowKey(rowKey, Number.MAX_SAFE_INTEGER);
    for await (const rows of this.#reader.range({ gt: versionKey, lt, limit: 1 }))
      for (const [key, value] of rows) return writtenBy(checkedVersion(key, value));
    const newest = await readNewest(this.#reader, rowKey);
    return newest && writtenBy(newest);
  }

  /**
   * Removes a key's versions up to `newest`, oldest first; returns the first possible key of its versions, or undefined if the budget ran
   * out.
   */
  async #removeUpTo(newest: Uint8Array, bucket: string, newer: Written): Promise<Uint8Array | undefined> {
    const gte = asKind(Buffer.concat([Buffer.alloc(1), versionStem(newest)]), ROW.version);
    const { versions, floors } = this.swept;
    let floor = floors.get(bucket) ?? 0;
    // At least one version, so that a single version can be removed.
    let left = Math.max(this.budget, 1);
    let isDone = false;
    for await (const rows of this.#reader.range({ gte, lte: newest, limit: left + 1 })) {
      for (const [key, value] of rows) {
        checkedVersion(key, value);
        // This version superseded the previous one.
        floor =
          versions.length > 0 && isSameKey(versions.at(-1), key)
            ? Math.max(floor, versionRevision(key))
            : floor;
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

  async #tombstone(key: Uint8Array, written: Written, { age }: Bound): Promise<void> {
    if (!this.#isOld(written) || written.time + age > this.#now.time) return;
    const gte = asKind(key, ROW.version);
    for await (const rows of this.#reader.range({ gte, lt: prefixEnd(gte), limit: 1 })) {
      if (rows.length > 0) return;
    }
    this.swept.tombstones.push(asKind(key, ROW.document));
  }
}

function writtenBy(value: VersionValue): Written {
  return { revision: versionValueRevision(value), time: versionValueTime(value) };
}

/** Returns whether two versions belong to the same key. */
function isSameKey(left: Uint8Array | undefined, right: Uint8Array): boolean {
  return left !== undefined && versionStem(left).equals(versionStem(right));
}

function successor(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}
