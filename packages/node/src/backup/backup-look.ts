import type { CheckpointStore, Clock } from "@cairn/checkpoint";
import { type CairnError, isCairnError } from "@cairn/kv";
import {
  type BackupListing,
  backupLease,
  coveredRanges,
  listBackup,
  type SegmentFile,
  type TxRange,
} from "./segment-name.ts";
import { mergeSegments, type OnDamaged, planMerge, removeSuperseded, superseded } from "./merge-segments.ts";
import { SEGMENT_MESSAGES } from "./read-segment.ts";
import {
  type BackupTarget,
  lastSegment,
  nextToWrite,
  requireSameHistory,
  writeSegments,
  type WrittenSegment,
} from "./write-segments.ts";

/** Options for a look at a backup. */
export interface BackupLookOptions extends Omit<BackupTarget, "storeNow"> {
  /** About how often the cluster writes a segment (ms); also the age at which the lease of a writer that died is taken over. */
  readonly every: number;
  /** Whether to write although the newest segment is recent: much has come since. */
  readonly forced?: boolean;
  readonly clock: Clock;
  /** The memory between looks. */
  readonly memory: BackupMemory;
}

/** What a node remembers from one look to the next. */
export interface BackupMemory {
  /** The store's clock less that of this machine (ms), and when the store was asked for it; undefined before that. */
  storeClock: { readonly aheadMs: number; readonly askedAt: number } | undefined;
  /** Segments that cannot be merged because they are damaged, with the reason. */
  readonly damaged: Map<string, CairnError>;
}

/** The result of a look. */
export interface BackupLook {
  /** The transactions that the backup holds, in runs. */
  readonly covered: readonly TxRange[];
  readonly segments: number;
  readonly bytes: number;
  /** The last transaction of the log when the look began. */
  readonly logEnd: number;
  readonly written: readonly WrittenSegment[];
  readonly merged: readonly WrittenSegment[];
  readonly removed: readonly string[];
  /** Why nothing was written although there is something to write: another node is writing, or has written not long ago. */
  readonly skipped: "leased" | "recent" | undefined;
  /** When the newest segment was written, by the store's clock; undefined if there is none. */
  readonly newestAt: number | undefined;
  /** By the store's clock. */
  readonly storeNow: number;
  readonly foreign: readonly string[];
}

/** The part of the period before which no node writes again: looks come at 0.9 to 1.1 periods. */
const EARLIEST_PART = 0.9;
/** How long the store's clock is taken to run like that of this machine (ms). */
const CLOCK_ASKED_MS = 3_600_000;
/** The bounds of the age at which a lease counts as left by a dead writer (ms). */
const MIN_LEASE_MS = 10_000;
const MAX_LEASE_MS = 600_000;

/**
 * Looks at the backup of a log once: writes what it lacks, merges small segments, and removes those that were merged. A look that finds
 * nothing to do lists once and writes nothing. Errors: those of the store and the log; `LOG_REGRESSED` if the log does not continue the
 * backup.
 *
 * The lease only prevents that several nodes write the same: overlapping segments hold the same messages, so nothing depends on it.
 */
export async function lookAtBackup(options: BackupLookOptions): Promise<BackupLook> {
  const { store, log, of, memory, clock } = options;
  const storeNow = (): number => clock.now() + (memory.storeClock?.aheadMs ?? 0);
  const target: BackupTarget = { ...options, storeNow };
  const listing = await listBackup(store, of.id);
  const bounds = await log.bounds();
  const range = { first: bounds.first + of.offset, last: bounds.last + of.offset };
  await requireSameHistory(target, listing.segments, range.last);
  const done: { written: WrittenSegment[]; merged: WrittenSegment[]; removed: string[] } = {
    written: [],
    merged: [],
    removed: [],
  };
  const canMerge = store.describe?.()?.canDelete !== false;
  const work = async (): Promise<void> => {
    let segments = listing.segments;
    let next = nextToWrite(coveredRanges(segments), range);
    while (next !== undefined && !options.signal.aborted) {
      const before = done.written.length;
      await writeSegments(target, next, (written) => done.written.push(written));
      segments = [...listing.segments, ...done.written.map(asListed(storeNow()))];
      // Only what was written counts: a log that ended early must not be read forever.
      if (done.written.length === before) break;
      next = nextToWrite(coveredRanges(segments), range);
    }
    if (canMerge) await merge(target, segments, memory, done);
  };
  const covered = coveredRanges(listing.segments);
  const missing = nextToWrite(covered, range);
  const isDue = missing !== undefined || (canMerge && hasToMerge(listing.segments, memory));
  let skipped: BackupLook["skipped"];
  if (isDue) {
    await askClock(store, memory, clock);
    if (isRecent(options, listing.segments, range.last, storeNow())) skipped = "recent";
    else if (!(await underLease(options, listing, storeNow(), work))) skipped = "leased";
  }
  const removed = new Set(done.removed);
  const added = [...done.written, ...done.merged].map(asListed(storeNow()));
  const segments = [...listing.segments, ...added].filter(({ name }) => !removed.has(name));
  return {
    covered: coveredRanges(segments),
    segments: segments.length,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    logEnd: range.last,
    ...done,
    skipped,
    newestAt: segments.length === 0 ? undefined : Math.max(...segments.map(({ modifiedAt }) => modifiedAt)),
    storeNow: storeNow(),
    foreign: listing.foreign,
  };
}

function hasToMerge(segments: readonly SegmentFile[], { damaged }: BackupMemory): boolean {
  const whole = segments.filter(({ name }) => !damaged.has(name));
  return superseded(whole).length > 0 || planMerge(segments, ({ name }) => damaged.has(name)) !== undefined;
}

async function merge(
  target: BackupTarget,
  segments: readonly SegmentFile[],
  memory: BackupMemory,
  done: { merged: WrittenSegment[]; removed: string[] },
): Promise<void> {
  let all = segments;
  const isDamaged = ({ name }: SegmentFile): boolean => memory.damaged.has(name);
  const onDamaged: OnDamaged = ({ name }, error) => memory.damaged.set(name, error);
  const tidy = async (): Promise<void> => {
    const removed = await removeSuperseded(
      target,
      all.filter((segment) => !isDamaged(segment)),
      onDamaged,
    );
    done.removed.push(...removed);
    all = all
      .filter(({ name }) => !removed.includes(name))
      .toSorted((a, b) => a.first - b.first || b.last - a.last);
  };
  await tidy();
  while (!target.signal.aborted) {
    const group = planMerge(all, isDamaged);
    if (group === undefined) return;
    const merged = await mergeSegments(target, group, onDamaged);
    if (merged === undefined && !group.some(isDamaged)) return;
    if (merged === undefined) continue;
    done.merged.push(merged);
    all = [...all, asListed(target.storeNow())(merged)];
    await tidy();
  }
}

const asListed =
  (modifiedAt: number) =>
  (written: WrittenSegment): SegmentFile => ({ ...written, logId: "", end: "", modifiedAt });

/** Returns whether the newest segment was written so recently that no node has to write another one yet. */
function isRecent(
  { every, forced = false }: BackupLookOptions,
  segments: readonly SegmentFile[],
  logEnd: number,
  storeNow: number,
): boolean {
  const newest = lastSegment(segments);
  if (forced || newest === undefined || logEnd - newest.last >= SEGMENT_MESSAGES) return false;
  // A time in the future counts as now: a wrong clock must not stop the backup until it is right.
  const age = Math.max(0, storeNow - newest.modifiedAt);
  return newest.modifiedAt <= storeNow + every && age + 1 < every * EARLIEST_PART;
}

/** Runs `work` while this node has the backup's lease. Returns false, and runs nothing, while another node has it. */
async function underLease(
  { store, of, node, every }: BackupLookOptions,
  { lease }: BackupListing,
  now: number,
  work: () => Promise<void>,
): Promise<boolean> {
  const file = backupLease(of.id);
  // A store that removes nothing would keep the first lease for ever, so there is none.
  if (store.describe?.()?.canDelete === false) {
    await work();
    return true;
  }
  if (lease !== undefined) {
    const age = now - lease.modifiedAt;
    if (Math.abs(age) < Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, every))) return false;
    await tolerant(store.remove(file));
  }
  const text = JSON.stringify({ node, since: new Date(now).toISOString() });
  if (!(await store.create(file, text))) return false;
  try {
    await work();
    return true;
  } finally {
    await tolerant(store.remove(file));
  }
}

/** Asks the store for its time, unless that was done within the last hour: it is a request. */
async function askClock(store: CheckpointStore, memory: BackupMemory, clock: Clock): Promise<void> {
  const asked = clock.now();
  if (memory.storeClock !== undefined && asked - memory.storeClock.askedAt < CLOCK_ASKED_MS) return;
  const aheadMs = (await store.now()) - (asked + clock.now()) / 2;
  memory.storeClock = { aheadMs, askedAt: asked };
}

/** Awaits work whose failure changes nothing: a lease that stays is taken over when it is old. */
async function tolerant(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isCairnError(error)) throw error;
  }
}
