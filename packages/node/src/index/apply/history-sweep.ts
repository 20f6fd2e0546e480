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
 * History is looked through round and round, a bounded part at every so many transactions, so that writing costs nothing more and a
 * changed bound needs no other work. These three are a part of the index version.
 */
const SWEEP_EVERY = 64;
const ROWS_PER_SWEEP = 1_000;
/** What was superseded so few transactions ago stays: for lists that go on, and watchers that are behind. */
export const RECENT_TRANSACTIONS = 1_000;

/**
 * Where the next sweep goes on: in a segment, before a row key (in hex; what follows was looked at), among the versions of the key
 * with this stem (in hex), of which so many, the newest, were seen and stay.
 */
export type SweepCursor = NonNullable<IndexState["sweep"]>;

/** What one sweep found that is beyond its bound. */
export interface Swept {
  readonly versions: Uint8Array[];
  /** Document row keys of deletions that nothing older stands behind. */
  readonly tombstones: Buffer[];
  /** By bucket, the latest transaction that superseded a version that goes. */
  readonly floors: Map<string, TxId>;
  /** The latest version that goes. */
  pruned: TxId;
  cursor: SweepCursor | undefined;
}

/** How many transactions after `txId` come before one that sweeps; 0 when it is one itself. */
export function beforeSweep(txId: TxId): number {
  return (SWEEP_EVERY - (txId % SWEEP_EVERY)) % SWEEP_EVERY;
}

/** Looks through a part of the history as it was before transaction `txId`. */
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
  /** How many rows may still be looked at or removed. */
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

  /** From the last key to the first, so that a key's versions come newest first. */
  async run(segment: Segment): Promise<void> {
    const gte = asKind(documentRowPrefix(segment.bucket), segment.kind);
    const resume = this.#resume?.segment === segment.name ? this.#resume : undefined;
    this.#resume = undefined;
    let lt: Uint8Array = resume === undefined ? prefixEnd(gte) : Buffer.from(resume.key, "hex");
    let stem = resume?.stem ?? "";
    let seen = resume?.seen ?? 0;
    // What was written over the version at hand; undefined where that has yet to be looked up, as at a key's newest version.
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
          // Whatever is older is beyond the bound as well.
          jump = await this.#removeUpTo(key, segment.bucket, newer);
          if (jump !== undefined) break rows;
          // The budget ended before it: the oldest went first, so none is missing between two that stay.
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

  /** What was written over a version. */
  async #superseding(versionKey: Uint8Array): Promise<Written | undefined> {
    const rowKey = Buffer.concat([Buffer.from([ROW.document]), versionStem(versionKey)]);
    const lt = versionRowKey(rowKey, Number.MAX_SAFE_INTEGER);
    for await (const rows of this.#reader.range({ gt: versionKey, lt, limit: 1 }))
      for (const [key, value] of rows) return writtenBy(checkedVersion(key, value));
    const newest = await readNewest(this.#reader, rowKey);
    return newest && writtenBy(newest);
  }

  /** Removes a key's versions, oldest first; answers its first possible one once `newest` went too, undefined when the budget ended. */
  async #removeUpTo(newest: Uint8Array, bucket: string, newer: Written): Promise<Uint8Array | undefined> {
    const gte = asKind(Buffer.concat([Buffer.alloc(1), versionStem(newest)]), ROW.version);
    const { versions, floors } = this.swept;
    let floor = floors.get(bucket) ?? 0;
    // At least the one that was just looked at, if it stands alone.
    let left = Math.max(this.budget, 1);
    let isDone = false;
    for await (const rows of this.#reader.range({ gte, lte: newest, limit: left + 1 })) {
      for (const [key, value] of rows) {
        checkedVersion(key, value);
        // It superseded the one before.
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

/** Whether two versions are of one key. */
function isSameKey(left: Uint8Array | undefined, right: Uint8Array): boolean {
  return left !== undefined && versionStem(left).equals(versionStem(right));
}

function successor(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}
