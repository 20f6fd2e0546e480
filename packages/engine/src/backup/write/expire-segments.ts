import {
  type CheckpointStore,
  listCheckpoints,
  parseCheckpointName,
  readReservations,
} from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { cleanupPause, isCairnError, unlessFailed } from "@cairn/kv";
import { type BackupListing, beginFile, listBackup, type SegmentFile } from "../segments/segment-name.ts";
import type { SegmentHeader } from "../segments/segment.ts";
import type { BackupMemory } from "./look-results.ts";

export interface RemovalRules {
  /** The minimum age of a segment that may be removed (ms), by the store's clock. */
  readonly keep: number;
  /**
   * The last transaction of a verified checkpoint for nodes of this version; others build from the beginning of the
   * log, which perhaps only the backup holds.
   */
  readonly verifiedUpTo: () => Promise<TxId | undefined>;
  /** Returns the known logs that this one continues, newest first. If absent, there are none. */
  readonly earlier?: (() => Promise<readonly EarlierEnd[]>) | undefined;
}

/** A log that another log continues, and the last transaction that belongs to the history of both. */
export interface EarlierEnd {
  readonly logId: string;
  readonly last: TxId;
}

interface RemovalPlace {
  readonly store: CheckpointStore;
  readonly of: Pick<SegmentHeader["log"], "id" | "offset">;
  readonly node: string;
  /** Logs whose checkpoints need no segments. */
  readonly spent?: ReadonlySet<string>;
}

/** Stands in for an unknown offset. Any value above 0 makes checkpoints of other logs count as related. */
const CONTINUED = 1;

/** Returns whether a search for removable segments is due and there are candidates. `now` is by the store's clock. */
export function isRemovalDue(
  removal: RemovalRules | undefined,
  { removedAt = -Infinity }: Pick<BackupMemory, "removedAt">,
  segments: readonly SegmentFile[],
  now: number,
): boolean {
  if (removal === undefined) return false;
  if (Math.abs(now - removedAt) < cleanupPause(removal.keep)) return false;
  return oldSegments(segments, removal.keep, now).length > 0;
}

/** Returns the leading segments that are older than `keep`, up to the first younger one. */
function oldSegments(segments: readonly SegmentFile[], keep: number, now: number): SegmentFile[] {
  const young = segments.findIndex(({ modifiedAt }) => now - modifiedAt <= keep);
  return segments.slice(0, young < 0 ? segments.length : young);
}

/**
 * Removes old segments of a log and of those it continues, the earliest log's first, because later logs name earlier
 * ones. Returns their names. `now` is by the store's clock.
 */
export async function removeOldLineage(
  place: RemovalPlace,
  segments: readonly SegmentFile[],
  rules: RemovalRules,
  now: number,
): Promise<string[]> {
  const removed: string[] = [];
  for (const old of await oldLineage(place, segments, rules, now))
    removed.push(...(await removeFirst({ ...place, of: { ...place.of, id: old[0]?.logId ?? "" } }, old)));
  return removed;
}

/** Returns what {@link removeOldLineage} would remove, by log. */
export async function oldLineage(
  place: RemovalPlace,
  segments: readonly SegmentFile[],
  rules: RemovalRules,
  now: number,
): Promise<SegmentFile[][]> {
  const found: SegmentFile[][] = [];
  const earlier = (await rules.earlier?.()) ?? [];
  const spent = earlier.length === 0 ? new Set<string>() : await spentLogs(place, earlier);
  for (const { logId, last } of earlier.toReversed()) {
    const { segments: ofEarlier } = await listBackup(place.store, logId);
    const of = { id: logId, offset: CONTINUED };
    const old = await removable({ ...place, of, spent }, ofEarlier, rules, now, last);
    if (old.length > 0) found.push(old);
    if (old.length < ofEarlier.length) return found;
  }
  const old = await removable({ ...place, spent }, segments, rules, now);
  return old.length > 0 ? [...found, old] : found;
}

/**
 * Runs `work`, and repeats it while the store is full and there are unneeded segments. Removes one of these each time
 * before it records the new beginning, because the record itself needs space.
 */
export async function withRoom<T>(
  { store, of, node }: Pick<RemovalPlace, "store" | "of" | "node">,
  unneeded: () => Promise<readonly SegmentFile[]>,
  work: () => Promise<T>,
): Promise<T> {
  let rest: SegmentFile[] | undefined;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isCairnError(error, "STORE_FULL")) throw error;
      rest ??= [...(await unneeded())];
      const first = rest.shift();
      if (first === undefined) throw error;
      await store.remove(first.name);
      const place = { store, node, of: { ...of, id: first.logId } };
      await unlessFailed(recordBeginning(place, first.last + 1), "STORE_FULL", undefined);
    }
  }
}

/** Checkpoints of earlier logs lead over the seam until this log has two verified ones. No policy removes them. */
export async function spentLogs(
  { store, of }: Pick<RemovalPlace, "store"> & { readonly of: Pick<RemovalPlace["of"], "id"> },
  earlier: readonly EarlierEnd[],
): Promise<ReadonlySet<string>> {
  const { checkpoints } = await listCheckpoints(store);
  const verified = checkpoints.filter(({ log, verified: isVerified }) => log.id === of.id && isVerified);
  return new Set(verified.length < 2 ? [] : earlier.map(({ logId }) => logId));
}

/**
 * Returns the oldest segments if they are older than `keep`, no listed checkpoint or restoring node needs them, and a
 * verified checkpoint replaces them. Transactions after `shared`, at which another log continues this one, are removed
 * by age alone. `now` is by the store's clock. Throws the errors of the store and the log.
 */
async function removable(
  place: RemovalPlace,
  segments: readonly SegmentFile[],
  { keep, verifiedUpTo }: RemovalRules,
  now: number,
  shared: TxId = Infinity,
): Promise<SegmentFile[]> {
  const old = oldSegments(segments, keep, now);
  if (old.length === 0) return [];
  const verified = await verifiedUpTo();
  if (verified === undefined) return [];
  // Checkpoints are listed last: any published after that is newer than the segments to remove.
  const needed = Math.min(verified, await firstNeeded(place));
  const stays = old.findIndex(({ last }) => Math.min(last, shared) >= needed);
  return old.slice(0, stays < 0 ? old.length : stays);
}

export async function recordBeginning(
  { store, of, node }: Pick<RemovalPlace, "store" | "of" | "node">,
  txId: TxId,
): Promise<BackupListing["begins"][number]> {
  const name = beginFile(of.id, txId);
  await store.create(name, JSON.stringify({ node }));
  return { name, txId };
}

/**
 * Removes a backup's first segments, which are not needed, and returns their names. Records the new beginning first, so
 * that no node writes them again or fills a hole up to `through`.
 */
export async function removeFirst(
  place: RemovalPlace,
  segments: readonly SegmentFile[],
  through: TxId = 0,
): Promise<string[]> {
  const { store, of } = place;
  if (segments.length === 0 && through === 0) return [];
  await recordBeginning(place, Math.max(through, ...segments.map(({ last }) => last)) + 1);
  const removed: string[] = [];
  for (const { name } of segments) {
    await store.remove(name);
    removed.push(name);
  }
  const { begins } = await listBackup(store, of.id);
  const newest = Math.max(...begins.map(({ txId }) => txId));
  for (const { name, txId } of begins) if (txId < newest) await store.remove(name);
  return removed;
}

/** Returns the first transaction after which a checkpoint or a reservation in the store still needs the backup. */
async function firstNeeded({ store, of, spent }: RemovalPlace): Promise<TxId> {
  const { checkpoints, skipped } = await listCheckpoints(store);
  const { reserved } = await readReservations(store);
  // Two logs that began empty have nothing in common. Any other log may continue this one, or be continued by it.
  const related = checkpoints.filter(
    ({ log }) => (log.id === of.id || log.offset > 0 || of.offset > 0) && spent?.has(log.id) !== true,
  );
  const names = [...related, ...skipped].map(({ name }) => name);
  const txIds = [...names, ...reserved].map((name) => parseCheckpointName(name)?.txId ?? 0);
  return Math.min(...txIds);
}
