import { type CheckpointStore, isTooSoon } from "@cairn/checkpoint";
import { type Clock, type CairnError, ERROR_CODES, unlessFailed } from "@cairn/kv";
import { vanished } from "../../log/anchor.ts";
import { hasLogId } from "../../log/log-identity.ts";
import type { LogMessage } from "../../log/tx-log.ts";
import { underLease } from "./backup-lease.ts";
import { type BackupMemory, forgetRemoved, isDamaged, LookResults, type OnWritten } from "./look-results.ts";
import {
  isRemovalDue,
  oldLineage,
  recordBeginning,
  type RemovalRules,
  removeOldLineage,
  withRoom,
} from "./expire-segments.ts";
import { BackupView } from "../segments/backup-view.ts";
import {
  backupLease,
  type BackupListing,
  beginOfBackup,
  coveredRanges,
  gapsIn,
  holesOf,
  lastSegment,
  listBackup,
  missingIn,
  newestOf,
  type SegmentFile,
  type TxRange,
} from "../segments/segment-name.ts";
import { hasToMerge, tidyBackup } from "./merge-segments.ts";
import { requireKey } from "../segments/read-segment.ts";
import {
  type BackupTarget,
  requireSameHistory,
  SEGMENT_MESSAGES,
  writeSegments,
  type WrittenSegment,
} from "./write-segments.ts";

export interface BackupLookOptions extends Omit<BackupTarget, "storeNow"> {
  /** About how often the cluster writes a segment (ms). Also the age at which an abandoned lease is taken over. */
  readonly every: number;
  /** If true, the look writes even if the newest segment is recent. */
  readonly forced?: boolean;
  /**
   * When enough had been applied to fill a segment, by this machine's clock (ms). The look then writes even if the
   * newest segment is recent, unless it is newer than this.
   */
  readonly muchSince?: number | undefined;
  /** Whether an earlier look of this node found segments that the log continues. Defaults to false. */
  readonly hadSegments?: boolean;
  /** Whether damage to the backup is known besides that in `memory`. */
  readonly isDamaged?: boolean;
  readonly onWritten?: OnWritten;
  /** Called once this look has acquired the lease and begins to write, merge or remove segments. */
  readonly onBegun?: () => void;
  readonly clock: Clock;
  /** The rules for removing segments. If undefined, segments are kept forever. */
  readonly removal?: RemovalRules | undefined;
  readonly replaced?: readonly string[];
  readonly memory: BackupMemory;
}

export interface BackupLook {
  /** The runs of transactions that the backup holds. Segments known to be unusable do not count. */
  readonly covered: readonly TxRange[];
  readonly segments: number;
  readonly bytes: number;
  /** The runs of transactions that the backup should hold and lacks, up to its end or the one that its pointer names. */
  readonly holes: readonly TxRange[];
  /** The first transaction that the log held when the look began and that the backup should hold after it. */
  readonly logBegin: number;
  /** When the log stored the oldest transaction that it held then and that the backup lacks (ms), if there is one. */
  readonly exposedSince: number | undefined;
  readonly written: readonly WrittenSegment[];
  readonly merged: readonly WrittenSegment[];
  readonly removed: readonly string[];
  /** The error with which merging or removing segments failed. The missing segments had already been written. */
  readonly failure: CairnError | undefined;
  /** Why nothing was written although the backup is behind: another node is writing, or has written recently. */
  readonly skipped: "leased" | "recent" | undefined;
  /** When the newest segment was written, by the store's clock, if there is one; not counting this look's merges. */
  readonly newestAt: number | undefined;
  readonly storeNow: number;
}

/** How long a measured difference between the store's clock and this machine's clock is used (ms). */
const CLOCK_ASKED_MS = 3_600_000;

/**
 * Looks at a log's backup once: writes missing segments, merges small ones, and removes merged or expired ones; with
 * nothing to do, it only reads the pointer or lists the backup, and once the newest segment. Throws the errors of the
 * store and the log, and `LOG_REGRESSED` if the log does not continue the backup. The lease only saves work: without it,
 * several nodes would write overlapping segments, which hold the same messages.
 */
export async function lookAtBackup(options: BackupLookOptions): Promise<BackupLook> {
  const { removal, memory, clock } = options;
  const storeNow = (): number => clock.now() + (memory.storeClock?.aheadMs ?? 0);
  const old = async (): Promise<SegmentFile[]> => {
    if (removal === undefined) return [];
    const { segments } = await listBackup(options.store, options.of.id);
    return (await oldLineage(options, segments, removal, storeNow())).flat();
  };
  return await withRoom(options, old, () => lookOnce(options, storeNow));
}

async function lookOnce(options: BackupLookOptions, storeNow: () => number): Promise<BackupLook> {
  const { store, of, memory, every, clock } = options;
  const target: BackupTarget = { ...options, storeNow };
  const view = (memory.view ??= new BackupView({ store, logId: of.id, every, clock }));
  // A damaged segment is written again once somebody has removed it, which no pointer shows.
  const { listing: seen, isHint } = await view.look(options.isDamaged === true || memory.damaged.size > 0);
  await requireOwnKey(options, seen.segments);
  let state = isHint ? await unlessFailed(assess(options, target, seen), ERROR_CODES, undefined) : undefined;
  const isAnotherWriting = state?.next === "work" && (await isNewlyLeased(options));
  // Whatever a hint requires to do, or to refuse, the backup itself must show.
  if (state === undefined || (state.next === "work" && !isAnotherWriting))
    state = await assess(options, target, isHint ? await view.list() : seen);
  const { listing, range, next } = state;
  const done = new LookResults(listing, options.onWritten);
  const isLeased =
    isAnotherWriting ||
    (next === "work" &&
      !(await underLease(target, every, listing.lease, () => work(options, target, state, done))));
  // The node that wrote the end may have been stopped before it named it.
  if (next !== "work" && view.isBehind)
    await done.attempt(() => view.point(listing, listing.segments, options));
  const { segments, written, merged, removed, failure } = done;
  const covered = coveredRanges(segments.filter((segment) => !isDamaged(memory, segment)));
  // This look may have moved the beginning.
  const begin = beginOfBackup(done, of.offset, range.last);
  const logBegin = Math.max(range.first, begin);
  const missing = missingIn(covered, { first: logBegin, last: range.last }).first;
  return {
    covered,
    segments: segments.length,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    holes: holesOf(covered, begin, view.reached),
    logBegin,
    exposedSince: missing && (await options.log.fetch(missing - of.offset))?.time,
    written,
    merged,
    removed,
    failure,
    skipped: isLeased ? "leased" : next === "recent" ? "recent" : undefined,
    newestAt: newestOf(segments.filter((segment) => !merged.some(({ name }) => name === segment.name))),
    storeNow: storeNow(),
  };
}

/** What a look found. `next` is undefined if there is nothing to do. */
interface Assessment {
  readonly listing: BackupListing;
  /** Whether no backup has been there, so that nothing is missing before the log's first message. */
  readonly isFirst: boolean;
  /** The transactions that the log holds and the backup should hold. */
  readonly range: TxRange;
  /** See {@link writeSegments}. */
  readonly trimmed: LogMessage | undefined;
  readonly next: "work" | "recent" | undefined;
}

async function assess(
  options: BackupLookOptions,
  target: BackupTarget,
  listing: BackupListing,
): Promise<Assessment> {
  const { store, log, of, memory, clock } = options;
  const { segments } = listing;
  forgetRemoved(memory, segments);
  const bounds = await log.bounds();
  const last = bounds.last + of.offset;
  const range = { first: Math.max(bounds.first + of.offset, beginOfBackup(listing, of.offset, last)), last };
  // Once a backup is gone, so is what the log no longer holds.
  const wasThere = segments.length > 0 || listing.begins.length > 0 || (memory.view?.reached ?? 0) > 0;
  const isFirst = !wasThere && options.hadSegments !== true;
  const trimmed = await requireSameHistory(target, segments, last);
  const isDue =
    nextGap(segments, range) !== undefined ||
    (canRemove(store) &&
      (hasToMerge(segments, memory) || isRemovalDue(options.removal, memory, segments, target.storeNow())));
  if (isDue) await askClock(store, memory, clock);
  const isTooRecent = isDue && isRecent(options, segments, range.last, target.storeNow());
  return {
    listing,
    isFirst,
    range,
    trimmed,
    next: isTooRecent ? "recent" : isDue ? "work" : undefined,
  };
}

/** Without the key, the node would write plain segments next to encrypted ones, and could not read the backup when needed. */
async function requireOwnKey(
  { store, memory, signal }: BackupLookOptions,
  segments: readonly SegmentFile[],
): Promise<void> {
  if (memory.keyFits === true || segments.length === 0) return;
  await requireKey(store, segments, signal);
  memory.keyFits = true;
}

/** Does what an assessment requires. The caller holds the lease. */
async function work(
  options: BackupLookOptions,
  target: BackupTarget,
  { listing, isFirst, range, trimmed }: Assessment,
  done: LookResults,
): Promise<true> {
  const { store, log, of, memory, signal } = options;
  options.onBegun?.();
  if (!(await hasLogId(log, of.id))) throw vanished(log.name);
  let next = nextGap(done.segments, range);
  if (next !== undefined && isFirst && range.first > of.offset + 1)
    done.begins = [await recordBeginning(target, range.first)];
  while (next !== undefined && !signal.aborted) {
    const before = done.written.length;
    await writeSegments(target, next, (segment) => done.add("written", segment), {
      trimmed,
      segments: done.segments,
    });
    memory.keyFits = true;
    // Stop if no segment was written. Otherwise a log that ended early would be read forever.
    if (done.written.length === before) break;
    next = nextGap(done.segments, range);
  }
  if (canRemove(store))
    await done.attempt(async () => {
      // Merging needs space.
      await removeOld(options, target.storeNow(), done);
      await tidyBackup(target, memory, done);
    });
  if (done.segments !== listing.segments || memory.view?.isBehind === true)
    await done.attempt(async () =>
      memory.view?.point({ ...listing, begins: done.begins }, done.segments, options),
    );
  return true;
}

/**
 * Returns whether another node has begun to write since this one last looked, which costs less than to list the backup
 * for the same answer. Only a listing shows how old a lease is.
 */
async function isNewlyLeased({ store, of, memory }: BackupLookOptions): Promise<boolean> {
  if (!canRemove(store)) return false;
  const lease = (await store.read(backupLease(of.id)))?.tag;
  const isNew = lease !== undefined && lease !== memory.lease;
  memory.lease = lease;
  return isNew;
}

/** Holes are filled before the end of the backup is extended. */
function nextGap(segments: readonly SegmentFile[], range: TxRange): TxRange | undefined {
  return gapsIn(coveredRanges(segments), range)[0];
}

/** Asked each time: an S3 store knows only after it has created an object, such as the lease, whether it can delete. */
function canRemove(store: CheckpointStore): boolean {
  return store.describe?.()?.canDelete !== false;
}

async function removeOld(options: BackupLookOptions, now: number, done: LookResults): Promise<void> {
  const { removal, memory, signal } = options;
  if (removal === undefined || signal.aborted || !isRemovalDue(removal, memory, done.segments, now)) return;
  memory.removedAt = now;
  const removed = await removeOldLineage(options, done.segments, removal, now);
  for (const name of removed) done.remove({ name });
  if (removed.length > 0) done.begins = (await listBackup(options.store, options.of.id)).begins;
}

/** Returns whether the newest segment is so recent that no node needs to write another one yet. */
function isRecent(
  { every, forced = false, muchSince = -Infinity, memory }: BackupLookOptions,
  segments: readonly SegmentFile[],
  logEnd: number,
  storeNow: number,
): boolean {
  const newest = lastSegment(segments);
  if (forced || newest === undefined || logEnd - newest.last >= SEGMENT_MESSAGES) return false;
  if (newest.modifiedAt <= muchSince + (memory.storeClock?.aheadMs ?? 0)) return false;
  // A time in the future counts as the present. Otherwise a wrong clock would stop the backup until that time.
  return newest.modifiedAt <= storeNow + every && isTooSoon(every, Math.max(0, storeNow - newest.modifiedAt));
}

/** Measures how far the store's clock is from this machine's, at most once an hour, since it costs a request. */
async function askClock(store: CheckpointStore, memory: BackupMemory, clock: Clock): Promise<void> {
  const asked = clock.now();
  if (memory.storeClock !== undefined && Math.abs(asked - memory.storeClock.askedAt) < CLOCK_ASKED_MS) return;
  const aheadMs = (await store.now()) - (asked + clock.now()) / 2;
  memory.storeClock = { aheadMs, askedAt: asked };
}
