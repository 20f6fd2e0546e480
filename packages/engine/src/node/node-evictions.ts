import { type CheckpointListing, listCheckpoints } from "@cairn/checkpoint";
import { CairnError, Deadline, unlessFailed, withTimeout } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { allStores, type RestoringSystem } from "../checkpoints/checkpoint-stores.ts";
import { answerOf } from "./node-status.ts";
import type { EvictionPage } from "../index/read/eviction-reads.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { LIMITS } from "@cairn/client/protocol";
import { isoTime } from "@cairn/text";
import type { OwnPurge } from "../own-indexes/index-folders.ts";
import type { EvictionPlaces, EvictionsPage } from "../api/node-api.ts";
import type { System } from "../api/system.ts";
import { backupFolder, listBackup, listBackups, type SegmentFile } from "../backup/segments/segment-name.ts";
import { type Anchor, anchorOf } from "../log/anchor.ts";
import { anchorOfPrefix } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";

/**
 * Adds to each eviction the places where the evicted content may still exist: the log until it is trimmed, segments of
 * its backup, checkpoints from before the eviction, and later ones whose files may contain the evicted bytes. Stores and
 * logs that do not respond within `limit` count as unreachable.
 */
export async function evictionPlaces(
  { evictions, ...page }: EvictionPage,
  state: IndexState,
  txLog: TxLog | undefined,
  system: RestoringSystem & Pick<System, "logBackup">,
  limit = new Deadline(LIMITS.waitMs),
): Promise<EvictionsPage> {
  if (evictions.length === 0) return { ...page, evictions: [] };
  const [first, saved, segments] = await Promise.all([
    firstOfLog(txLog, state.log.offset, limit),
    withTimeout(savedCheckpoints(system, state.log), limit.leftMs, null),
    withTimeout(backedUp(system, state.log, txLog), limit.leftMs, null),
  ]);
  const comparable =
    first.isKnown && txLog !== undefined
      ? await withTimeout(ofOneHistory(txLog, state, saved?.checkpoints ?? []), limit.leftMs, NONE)
      : NONE;
  return {
    ...page,
    evictions: evictions.map((eviction) => ({
      ...eviction,
      log: first.txId >= eviction.txId ? null : { firstTxId: first.txId, lastTxId: eviction.txId - 1 },
      checkpoints:
        saved?.checkpoints.filter(({ txId }) => txId < eviction.txId).map(({ name }) => name) ?? null,
      ...inFiles(eviction.txId, saved, comparable),
      ...inSegments(segments, eviction.txId, system.logBackup?.keep),
    })),
  };
}

export function withOwnFiles(page: EvictionPage, purged: OwnPurge | undefined): EvictionPage {
  if (purged === undefined) return page;
  const evictions = page.evictions.map((eviction): EvictionPage["evictions"][number] => {
    const { goneSince } = eviction.files;
    if (goneSince === null) return eviction;
    if (eviction.txId > purged.txId)
      return { ...eviction, files: { goneSince: null, waitsFor: "own-index" } };
    const at = Math.max(Date.parse(goneSince), purged.at);
    return { ...eviction, files: { goneSince: isoTime(at), waitsFor: null } };
  });
  return { ...page, evictions };
}

interface Saved {
  readonly checkpoints: readonly CheckpointListing[];
  /** The names of archives without a usable manifest, such as those that interrupted writers left behind. */
  readonly archives: readonly string[];
}

function inFiles(
  evicted: TxId,
  saved: Saved | null,
  comparable: ReadonlySet<string>,
): Pick<EvictionPlaces, "inFilesOf" | "firstWithout"> {
  if (saved === null) return { inFilesOf: null, firstWithout: null };
  const since = saved.checkpoints.filter(({ txId }) => txId >= evicted);
  const isClean = ({ name, purged }: CheckpointListing): boolean => purged >= evicted && comparable.has(name);
  const clean = since.filter(isClean).toSorted((a, b) => Date.parse(a.takenAt) - Date.parse(b.takenAt));
  return {
    inFilesOf: [...since.filter((one) => !isClean(one)).map(({ name }) => name), ...saved.archives],
    firstWithout: clean[0]?.name ?? null,
  };
}

/** Returns the log's first transaction. If the log does not respond, all of its transactions may still exist. */
async function firstOfLog(
  log: TxLog | undefined,
  offset: number,
  limit: Deadline,
): Promise<{ readonly txId: TxId; readonly isKnown: boolean }> {
  const asked = (log && (await withTimeout(answerOf(log.bounds()), limit.leftMs, null))) ?? undefined;
  if (asked instanceof CairnError && asked.code !== "LOG_UNREACHABLE") throw asked;
  const isKnown = asked !== undefined && !(asked instanceof CairnError);
  return { txId: (isKnown ? asked.first : 1) + offset, isKnown };
}

const NONE: ReadonlySet<string> = new Set();

/**
 * Returns the names of those `checkpoints` that agree with the log, so that their history is a prefix of the index's.
 * Others may belong to a lost history, in which the same content was written earlier.
 */
async function ofOneHistory(
  log: TxLog,
  state: IndexState,
  checkpoints: readonly CheckpointListing[],
): Promise<ReadonlySet<string>> {
  if (checkpoints.length === 0) return NONE;
  if (!(await shows(log, anchorOfPrefix(state)))) return NONE;
  const found = new Set<string>();
  for (const one of checkpoints) {
    if (one.log.id !== state.log.id || one.log.offset !== state.log.offset) continue;
    const { txId, sha256 } = one.anchor;
    if (await shows(log, { position: txId - one.log.offset, sha256 })) found.add(one.name);
  }
  return found;
}

/** Returns whether the log holds the anchor's message; false if it does not answer, which is reported elsewhere. */
async function shows(log: TxLog, { position, sha256 }: Anchor): Promise<boolean> {
  const message = await unlessFailed(log.fetch(position), "any", undefined);
  return message !== undefined && anchorOf(message).sha256.startsWith(sha256);
}

/** Returns what all stores have of a log; null if one does not respond, as its content must not be reported as removed. */
async function savedCheckpoints(system: RestoringSystem, own: IndexState["log"]): Promise<Saved | null> {
  const listing = Promise.all(allStores(system).map(async (store) => await listCheckpoints(store)));
  const listed = await unlessFailed(listing, UNREADABLE, null);
  if (listed === null) return null;
  // Checkpoints of a log that this one continues end at or before the offset, or hold what the recovery left behind.
  const { id, offset } = own;
  const mayBeOf = (logId: string, logName: string | undefined): boolean =>
    logId === id || (offset > 0 && logName === own.name);
  const found = listed
    .flatMap(({ checkpoints }) => checkpoints)
    .filter(({ log, txId }) => mayBeOf(log.id, log.name) || txId <= offset);
  const unusable = listed
    .flatMap(({ skipped }) => skipped)
    .filter(({ logId = id, logName }) => mayBeOf(logId, logName));
  const archives = [...unusable.map(({ name }) => name), ...listed.flatMap(({ incomplete }) => incomplete)];
  const checkpoints = [...new Map(found.map((one) => [one.name, one])).values()];
  return { checkpoints, archives: [...new Set(archives)] };
}

const UNREADABLE = ["STORE_UNREACHABLE", "STORE_DENIED"] as const;

interface BackedUp {
  readonly own: readonly SegmentFile[];
  /** The segments of other logs, which the node's log may continue after the transaction `offset`. */
  readonly earlier: readonly SegmentFile[];
  readonly offset: TxId;
  /** The log's segments belong to its history, so those after an eviction lack its content. */
  readonly comparable: boolean;
}

/** Null if a store does not respond, because content there must not be reported as removed. */
async function backedUp(
  system: RestoringSystem,
  { id, offset }: IndexState["log"],
  log: TxLog | undefined,
): Promise<BackedUp | null> {
  const own: SegmentFile[] = [];
  const earlier: SegmentFile[] = [];
  for (const store of allStores(system)) {
    const logs = await unlessFailed(listBackups(store), UNREADABLE, null);
    for (const logId of logs ?? []) {
      const backup = await unlessFailed(listBackup(store, logId), UNREADABLE, null);
      if (backup === null) return null;
      if (backupFolder(logId) === backupFolder(id)) own.push(...backup.segments);
      // Names do not show which logs the node's log continues.
      else if (offset > 0) earlier.push(...backup.segments);
    }
    if (logs === null) return null;
  }
  const [newest] = own.toSorted((a, b) => b.last - a.last);
  const comparable =
    log !== undefined &&
    newest !== undefined &&
    (await shows(log, { position: newest.last - offset, sha256: newest.end }));
  return { own, earlier, offset, comparable };
}

/** Returns the segments that may hold evicted content, and when the last of them may be removed because of its age. */
function inSegments(
  found: BackedUp | null,
  txId: TxId,
  keep: number | "all" | undefined,
): Pick<EvictionPlaces, "segments" | "segmentsUntil" | "hint"> {
  if (found === null) return { segments: null, segmentsUntil: null, hint: null };
  const { own, earlier, offset, comparable } = found;
  const holding = [
    // What follows the offset was left behind before the eviction.
    ...earlier.filter(({ first }) => Math.min(first, offset) < txId),
    ...(comparable ? own.filter(({ first }) => first < txId) : own),
  ];
  const newest = Math.max(...holding.map(({ modifiedAt }) => modifiedAt));
  const isKept = holding.length === 0 || keep === undefined || keep === "all";
  return {
    segments: [...new Set(holding.map(({ name }) => name))],
    segmentsUntil: isKept ? null : new Date(newest + keep).toISOString(),
    hint:
      holding.length === 0
        ? null
        : `To remove the segments now, run cairn log backup prune --through ${txId}`,
  };
}
