import { CairnError, systemClock } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { anchorOf, lacksNothing } from "../../log/anchor.ts";
import { lastInCommon } from "../../log/last-in-common.ts";
import type { LogBounds } from "../../log/tx-log.ts";
import { underLease } from "./backup-lease.ts";
import { isLastOf } from "../segments/continuation.ts";
import { BackupView } from "../segments/backup-view.ts";
import { readSegment } from "../segments/read-segment.ts";
import { type EarlierEnd, removeFirst, spentLogs, withRoom } from "./expire-segments.ts";
import {
  backupFolder,
  beginOfBackup,
  coveredRanges,
  listBackup,
  type SegmentFile,
  type TxRange,
} from "../segments/segment-name.ts";
import { type BackupTarget, writeSegment } from "./write-segments.ts";

export interface BackupPrune {
  /** Those of logs that this one continues come first, the earliest log's before the others. */
  readonly segments: readonly SegmentFile[];
  /** If the end is pruned, the last remaining transaction; if the beginning is pruned, the last removed one. */
  readonly txId: TxId;
}

/** The age at which a lease counts as abandoned (ms) if the backup's period is unknown. */
const LEASE_MS = 600_000;
const LEASE_TRIES = 20;
const LEASE_RETRY_MS = 1_000;

const SAVE_ANOTHER =
  "Nothing was removed. While a node runs, save a checkpoint (cairn checkpoint create). Then verify it (cairn checkpoint verify), and run the command again; with an embedded log, stop the node before these two.";

/**
 * Plans to remove the segments that begin by `through`, also those of `earlier` logs, and to accept what is missing up
 * to there. Throws `CONFLICT` if the newest verified checkpoint, which ends at `verified`, does not replace them, if
 * checkpoints of earlier logs are still needed, or if the log ends before `through`.
 */
export async function planThrough(
  target: BackupTarget,
  through: TxId,
  verified: TxId | undefined,
  earlier: readonly EarlierEnd[],
): Promise<BackupPrune> {
  const { store, of, log } = target;
  const listing = await listBackup(store, of.id);
  const { segments } = listing;
  const gone = segments.filter(({ first }) => first <= through);
  const before = await earlierSegments(target, through, earlier);
  const bounds = await log.bounds();
  const logEnd = bounds.last + of.offset;
  const isMissing = segments.length > 0 && beginOfBackup(listing, of.offset, logEnd) <= through;
  if (gone.length + before.length === 0 && !isMissing) return { segments: [], txId: 0 };
  if (through > logEnd) {
    const message = `There is no transaction ${through} yet: the log ends with transaction ${logEnd}.`;
    const hint = `Nothing was removed. Specify a transaction up to ${logEnd}.`;
    throw new CairnError("CONFLICT", message, hint);
  }
  if (verified === undefined || verified < through) {
    const newest =
      verified === undefined
        ? "There is no verified checkpoint from which nodes of this version could continue."
        : `The newest verified checkpoint ends with transaction ${verified}.`;
    const message = `Transactions up to ${through} cannot be removed from the log backup. ${newest}`;
    throw new CairnError("CONFLICT", message, SAVE_ANOTHER);
  }
  if (before.length > 0 && (await spentLogs(target, earlier)).size === 0) {
    const message = `The log backup of an earlier log leads nodes to the log "${log.name}", which continues it, until "${log.name}" has two verified checkpoints of its own.`;
    const hint = `${SAVE_ANOTHER} A second checkpoint needs a transaction after the first one.`;
    throw new CairnError("CONFLICT", message, hint);
  }
  const end = Math.max(0, ...gone.map(({ last }) => last));
  // The log and the runs of its backup must together hold everything from the checkpoint onwards.
  const begin = bounds.first + of.offset;
  const rest = coveredRanges(segments.slice(gone.length));
  const meets = ({ first, last }: TxRange): boolean =>
    lacksNothing(verified, { first }) && lacksNothing(last, { first: begin });
  if (gone.length > 0 && !lacksNothing(verified, { first: begin }) && !rest.some(meets)) {
    const message = `The segments to remove end with transaction ${end}, the newest verified checkpoint ends with ${verified}, and the log no longer holds the transactions in between.`;
    throw new CairnError("CONFLICT", message, SAVE_ANOTHER);
  }
  return { segments: [...before, ...gone], txId: Math.max(end, through) };
}

/**
 * Returns the segments of earlier logs that begin by `through`, the earliest log's first. Of a log that another one
 * continues by then, also those after that point, which nothing would lead to any more.
 */
async function earlierSegments(
  { store }: BackupTarget,
  through: TxId,
  earlier: readonly EarlierEnd[],
): Promise<SegmentFile[]> {
  const found: SegmentFile[] = [];
  for (const { logId, last } of earlier.toReversed()) {
    const { segments } = await listBackup(store, logId);
    found.push(...segments.filter(({ first }) => Math.min(first, last) <= through));
  }
  return found;
}

/**
 * Plans to remove the segments that end after the last transaction that the log, which has lost later ones, shares with
 * its backup. Throws `CONFLICT` if the log holds no shared one (trimmed ones may be shared or lost), and
 * `SEGMENT_CORRUPT` if the last shared one cannot be determined.
 */
export async function planLost(target: BackupTarget): Promise<BackupPrune> {
  const { store, of, log } = target;
  const { segments } = await listBackup(store, of.id);
  const bounds = await log.bounds();
  let shared = 0;
  for (const segment of segments.toSorted((a, b) => b.last - a.last)) {
    if (segment.last <= shared) break;
    shared = Math.max(shared, await lastShared(target, segment, bounds));
  }
  const lost = segments.filter(({ last }) => last > shared);
  if (shared < bounds.first + of.offset && lost.length > 0) {
    const message = `The log "${log.name}", which holds messages ${bounds.first} to ${bounds.last}, has none in common with its backup in ${store.location}.`;
    const except = bounds.first > 1 ? ", except perhaps transactions that it has trimmed" : "";
    const hint = `Nothing was removed. If this is not the right log, correct its address or name: cairn log status shows what it holds. If it is, it has lost everything that is in the backup${except}: print that with cairn log orphans --from-backup > FILE, then move the folder ${backupFolder(of.id)} out of the store. The next look of a node begins a new backup, and cairn load FILE submits the transactions again.`;
    throw new CairnError("CONFLICT", message, hint);
  }
  requireNoHole(lost, shared, store.location);
  return { segments: lost, txId: shared };
}

/** Throws `CONFLICT` if some of the lost transactions could not be printed before they are removed. */
function requireNoHole(lost: readonly SegmentFile[], shared: TxId, location: string): void {
  const [run, beyond] = coveredRanges(lost);
  const hole =
    run !== undefined && run.first > shared + 1
      ? { after: shared, next: run.first }
      : run && beyond && { after: run.last, next: beyond.first };
  if (hole === undefined) return;
  const names = lost.filter(({ first }) => first >= hole.next).map(({ name }) => name);
  throw new CairnError(
    "CONFLICT",
    `The backup in ${location} lacks transactions ${hole.after + 1} to ${hole.next - 1}, so those after them can be printed only with a checkpoint that ends later.`,
    `Nothing was removed. Print what can be printed with cairn log orphans --from-backup > FILE, move the files from transaction ${hole.next} on out of the store, keep them, and run the command again: ${names.join(", ")}.`,
  );
}

/**
 * Removes the segments of {@link planThrough}, and returns their names. The earliest log's go first, because only the
 * beginning of a log shows which one it continues.
 */
export async function pruneThrough(target: BackupTarget, { segments, txId }: BackupPrune): Promise<string[]> {
  const own = backupFolder(target.of.id);
  const prune = async (): Promise<string[]> => {
    const removed: string[] = [];
    const ofOthers = segments.filter(({ logId }) => backupFolder(logId) !== own);
    for (const id of new Set(ofOthers.map(({ logId }) => logId))) {
      const ofLog = ofOthers.filter(({ logId }) => logId === id);
      removed.push(...(await removeFirst({ ...target, of: { ...target.of, id } }, ofLog)));
    }
    const ofOwn = segments.filter((segment) => !ofOthers.includes(segment));
    const through = txId > target.of.offset ? txId : 0;
    return [...removed, ...(await removeFirst(target, ofOwn, through))];
  };
  return await withRoom(
    target,
    () => Promise.resolve(segments),
    () => exclusively(target, prune),
  );
}

/**
 * Removes the segments of {@link planLost}, last first, after writing the part that one shares with the log, and naming
 * the new end: otherwise the pointer would show that the old one is missing.
 */
export async function pruneLost(target: BackupTarget, { segments, txId }: BackupPrune): Promise<string[]> {
  return await exclusively(target, async () => {
    const { store, of } = target;
    for (const segment of segments) if (segment.first <= txId) await writeShared(target, segment, txId);
    const view = new BackupView({ store, logId: of.id, every: LEASE_MS, clock: systemClock });
    const { listing } = await view.look();
    const removed = segments.toSorted((a, b) => b.last - a.last).map(({ name }) => name);
    const kept = listing.segments.filter(({ name }) => !removed.includes(name));
    await view.point(listing, kept, { isShortened: true });
    for (const name of removed) await store.remove(name);
    return removed;
  });
}

async function writeShared(target: BackupTarget, segment: SegmentFile, txId: TxId): Promise<void> {
  const content = await readSegment(target.store, segment, target.signal);
  if (content === undefined) return;
  const { header, messages } = content;
  const shared = [...messages].slice(0, txId - header.first + 1);
  await writeSegment(target, header.before ?? undefined, shared);
}

/** Returns the last transaction of a segment that the log also holds or has trimmed; 0 if there is none. */
async function lastShared(
  { store, of, log, signal }: BackupTarget,
  segment: SegmentFile,
  bounds: LogBounds,
): Promise<TxId> {
  const end = segment.last - of.offset;
  // The log has trimmed all messages of the segment and continues after them.
  if (end < bounds.first) return segment.last;
  const last = end > bounds.last ? undefined : await log.fetch(end);
  if (last !== undefined && isLastOf(last, segment)) return segment.last;
  const content = await readSegment(store, segment, signal);
  if (content === undefined) return 0;
  const { first } = content.header;
  const shared = await lastInCommon(first - 1, segment.last, async (txId) => {
    const message = content.messages.get(txId);
    const position = txId - of.offset;
    const ours = position > bounds.last ? undefined : await log.fetch(position);
    if (ours === undefined || message === undefined) return position < bounds.first ? undefined : txId;
    return anchorOf(ours).sha256 === anchorOf(message).sha256 ? undefined : txId;
  });
  return shared < first ? 0 : shared;
}

/** Runs `work` while no node writes or merges; one could write back messages that it read before the removal. */
async function exclusively(target: BackupTarget, work: () => Promise<string[]>): Promise<string[]> {
  for (let tries = 0; tries < LEASE_TRIES; tries += 1) {
    const { lease } = await listBackup(target.store, target.of.id);
    const result = await underLease(target, LEASE_MS, lease, work);
    if (result !== undefined) return result;
    await systemClock.wait(LEASE_RETRY_MS, target.signal);
  }
  throw new CairnError(
    "CONFLICT",
    `A node is writing to the log backup in ${target.store.location}.`,
    "Nothing was removed. Run the command again. If a node was stopped while it was writing, wait ten minutes first.",
  );
}
