import type { CheckpointStore, SkippedCheckpoint } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { type CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import { BackupLog } from "../backup/backup-log.ts";
import { type FurthestBackup, furthestBackup, withoutSegments } from "../backup/furthest-backup.ts";
import { followHistory, type LogHistory, logWithBackup } from "../backup/log-with-backup.ts";
import { acceptManifest } from "../checkpoints/accept-checkpoint.ts";
import { type Candidates, listCandidates, type CandidateCheckpoint } from "../checkpoints/candidates.ts";
import { emptyState, type IndexState, logOffset } from "../index/rows/index-state.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { TxRange } from "../backup/segments/segment-name.ts";
import { beginningOf } from "./fold-log.ts";
import { lastBackedUp } from "./logs-in-store.ts";
import { endOf, mayLead, nothingLeadsTo } from "./unusable-checkpoints.ts";
import { type OtherHistory, separateHistories } from "./other-histories.ts";
import { UNUSABLE_SEGMENT } from "../backup/segments/read-segment.ts";

/** A point in a log's history: a transaction, or the last transaction at or before a time (ms since 1970). */
export type PastPoint = { readonly txId: TxId } | { readonly time: number };

export interface Unusable {
  /** The reasons, by checkpoint. */
  readonly checkpoints: ReadonlyMap<string, CairnError>;
  /** The files of damaged segments. A backup is read as if it had a hole there. */
  readonly segments: ReadonlySet<string>;
}

interface PastOptions {
  readonly stores: readonly CheckpointStore[];
  readonly kvFormat: string;
  readonly logId: string;
  /** The log itself, if it can be read. */
  readonly log?: TxLog | undefined;
  /** The point. Defaults to the last transaction that can be reached. */
  readonly at?: PastPoint | undefined;
  /** What turned out to be unusable when an earlier plan was carried out. */
  readonly found?: Unusable;
  /** The transaction at which a later log continues this one. Defaults to the last one. */
  readonly continuedAt?: TxId;
  readonly candidates?: Candidates;
  /** Called with the checkpoints that would be better than the one with which the plan begins, but cannot be used. */
  readonly onSkipped?: ((skipped: SkippedCheckpoint) => void) | undefined;
  readonly signal: AbortSignal;
}

/** A private copy of a node's index, closed, and where the index is. */
export interface CopiedIndex {
  readonly place: string;
  readonly dir: string;
  readonly state: IndexState;
}

export interface PastPlan {
  readonly logId: string;
  readonly txId: TxId;
  /** True if `txId` is the requested transaction. If not, neither a backup nor the log has those between the two. */
  readonly exact: boolean;
  /** The checkpoint with which to begin; undefined if the index begins empty. */
  readonly checkpoint: Pick<CandidateCheckpoint, "name" | "store" | "txId" | "chains"> | undefined;
  /** The index that is used as it is; absent unless the index of a node is all that is read. */
  readonly index?: CopiedIndex;
  /** The source of the transactions after the checkpoint; undefined if there are none, or if none can be read. */
  readonly history: LogHistory | undefined;
  readonly source: "log" | "backup" | undefined;
  readonly backupIn: string | undefined;
  readonly segments: { readonly count: number; readonly bytes: number };
  /** The last known transaction, in the log, its backup or a checkpoint that is not of a lost history. */
  readonly known: TxId;
  /** Checkpoints of other histories up to the point that the plan lacks. Not searched if the point is a transaction. */
  readonly others: readonly OtherHistory[];
  /** The runs of transactions in the log or its backup, whichever reaches further; none if neither can be read. */
  readonly covered: readonly TxRange[];
}

interface Readable {
  readonly history: LogHistory;
  readonly identity: LogIdentity;
  readonly last: TxId;
  readonly source: "log" | "backup";
  readonly backup: FurthestBackup | undefined;
  readonly covered: readonly TxRange[];
}

/** The errors of a damaged or contradictory part of a backup. */
const CONTRADICTORY = [...UNUSABLE_SEGMENT, "LOG_REGRESSED"] as const;

const NOTHING: Unusable = { checkpoints: new Map(), segments: new Set() };

const NONE = { count: 0, bytes: 0 };

/**
 * Plans how to build an index that ends at a point in a log's history: from the newest checkpoint at or before it, and
 * the log or its backup. If the log lost its end and the stores hold several histories, the one that continued latest
 * counts, unless the point is a transaction that only another one contains. If the point cannot be reached exactly, the
 * plan leads to the nearest reachable point before it. Throws `CHECKPOINT_NOT_FOUND` if no such point can be reached.
 * Also throws the errors of logs and stores.
 */
export async function planPast(asked: PastOptions): Promise<PastPlan> {
  const { stores, found = NOTHING, onSkipped } = asked;
  const candidates =
    asked.candidates ?? (await listCandidates(stores, { ...asked, found: found.checkpoints }));
  let plan: PastPlan | undefined;
  try {
    return (plan = await planWith({ ...asked, candidates }));
  } finally {
    const after = plan?.checkpoint?.txId ?? 0;
    for (const one of candidates.skipped) if (mayLead(one, asked) && endOf(one) > after) onSkipped?.(one);
  }
}

async function planWith(asked: PastOptions & { readonly candidates: Candidates }): Promise<PastPlan> {
  const { stores, logId, at, found = NOTHING, candidates } = asked;
  const readFrom = stores.map((store) => withoutSegments(store, found.segments));
  const options = { ...asked, stores: readFrom, found };
  const { usable } = candidates;
  const readable = await findReadable(options, usable);
  const ofLog = usable.filter(({ log }) => log.id === logId);
  const { latest, others } = await historiesUpTo(ofLog, readable, options);
  const lost = new Set(others.filter(({ isLater }) => !isLater).map(({ checkpoint }) => checkpoint));
  const kept = ofLog.filter(({ name }) => !lost.has(name));
  const skipped = candidates.skipped.filter((one) => one.logId === logId);
  const ends = [...kept.map(({ txId }) => txId), ...skipped.map(endOf)];
  const known = Math.max(await lastBackedUp(stores, logId), readable?.last ?? 0, ...ends);
  const alone = (one: CandidateCheckpoint, exact: boolean): PastPlan => {
    return { ...checkpointAlone(one), exact, known, others, covered: readable?.covered ?? [] };
  };
  if (at === undefined && latest !== undefined) return alone(latest, true);
  const read = readable && (await planReading(readable, usable, options));
  const reading = read && { ...read, known, others };
  if (reading?.exact === true) return reading;
  const before = kept.find(({ txId, txTime }) =>
    at === undefined ? true : "txId" in at ? txId <= at.txId : Date.parse(txTime) <= at.time,
  );
  const isExact = at !== undefined && "txId" in at && before?.txId === at.txId;
  if (reading !== undefined && !isExact && reading.txId >= (before?.txId ?? 0)) return reading;
  if (before !== undefined) return alone(before, isExact);
  const continued = pastOfContinued(asked, candidates, readable);
  const earlier = continued && (await unlessFailed(planWith(continued), "CHECKPOINT_NOT_FOUND", undefined));
  if (earlier !== undefined) return earlier;
  const [locked] = readable?.backup?.log.locked.values() ?? [];
  throw nothingLeadsTo(options, candidates, readable && { last: readable.last, locked }, continued?.logId);
}

/**
 * Returns the options for planning in the log that this one continues, up to where it does; undefined if the point cannot
 * be there. No backup may hold what is between the two, but a point in the past needs only what is before it.
 */
function pastOfContinued(
  options: PastOptions,
  candidates: Candidates,
  readable: Readable | undefined,
): Parameters<typeof planWith>[0] | undefined {
  const { at } = options;
  const { log: logId, anchor } = readable?.identity.birth?.continues ?? {};
  if (at === undefined || anchor === undefined || logId === undefined) return undefined;
  if ("txId" in at && at.txId > anchor.txId) return undefined;
  const usable = candidates.usable.filter(({ log, txId }) => log.id !== logId || txId <= anchor.txId);
  const continuedAt = anchor.txId;
  return { ...options, logId, log: undefined, candidates: { ...candidates, usable }, continuedAt };
}

export function checkpointAlone(
  checkpoint: Pick<CandidateCheckpoint, "name" | "store" | "txId" | "chains" | "log">,
): PastPlan {
  const { txId, log } = checkpoint;
  return { ...nothingRead(log.id, txId), checkpoint };
}

export function indexAlone(index: CopiedIndex): PastPlan {
  const { txId, log } = index.state;
  return { ...nothingRead(log.id, txId), index };
}

function nothingRead(logId: string, txId: TxId): PastPlan {
  const none = { checkpoint: undefined, history: undefined, source: undefined, backupIn: undefined };
  return { logId, txId, exact: true, known: txId, others: [], covered: [], segments: NONE, ...none };
}

/** Separates the histories of a log, as far as they compete for the requested point. */
async function historiesUpTo(
  checkpoints: readonly CandidateCheckpoint[],
  readable: Readable | undefined,
  { at, kvFormat }: PastOptions,
): ReturnType<typeof separateHistories> {
  if (checkpoints.length === 0 || (at !== undefined && "txId" in at))
    return { latest: undefined, others: [] };
  const reading = readable?.history.fetch(readable.identity.bounds.last);
  const end = reading && (await unlessFailed(reading, CONTRADICTORY, undefined));
  const readableEnd = readable && {
    txId: readable.last,
    time: end?.time,
    isOther: async (one: CandidateCheckpoint) =>
      isCairnError(await judged(one, readable, kvFormat, CONTRADICTORY), "LOG_REGRESSED"),
  };
  const found = await separateHistories(checkpoints, readableEnd);
  const others = found.others.filter(({ time }) => at === undefined || time <= at.time);
  return { latest: found.latest, others };
}

/** Plans to read up to the requested point or the nearest readable one before it; undefined if there is none. */
async function planReading(
  readable: Readable,
  checkpoints: readonly CandidateCheckpoint[],
  options: PastOptions,
): Promise<Omit<PastPlan, "known" | "others"> | undefined> {
  const found = await pointIn(readable, checkpoints, options);
  if (found === undefined) return undefined;
  // What follows a hole can be reached only from a checkpoint that ends directly before it, or later.
  const ends = readable.covered.map(({ last }) => last).filter((last) => last < found.txId);
  for (const txId of [found.txId, ...ends.toReversed()]) {
    const upTo = await endedWith(readable, txId, options);
    const basis = await basisOf(upTo, checkpoints, txId, options);
    if (basis === undefined) continue;
    const { history, source, backup, covered, identity } = upTo;
    const { checkpoint } = basis;
    const segments =
      backup === undefined ? NONE : await segmentsRead(upTo, checkpoint?.txId ?? 0, txId, options);
    const exact = found.exact && txId === found.txId;
    const backupIn = backup?.store.location;
    return { logId: identity.id, txId, exact, checkpoint, history, source, backupIn, segments, covered };
  }
  return undefined;
}

/** Returns the log or its backup, whichever reaches further; undefined if neither can be read. */
async function findReadable(
  { stores, logId, log, found = NOTHING, continuedAt = Infinity }: PastOptions,
  checkpoints: readonly CandidateCheckpoint[],
): Promise<Readable | undefined> {
  // The log or a checkpoint may hold everything that is needed.
  const ignored = log === undefined && found.segments.size === 0 ? [] : UNUSABLE_SEGMENT;
  const backup = await unlessFailed(furthestBackup(stores, logId), ignored, undefined);
  const ofLog = log === undefined ? undefined : await readLogIdentity(log);
  if (log !== undefined && ofLog?.id === logId) {
    const offset =
      ofLog.birth?.offset ?? backup?.offset ?? checkpoints.find((one) => one.log.id === logId)?.log.offset;
    const last = offset === undefined ? undefined : ofLog.bounds.last + offset;
    if (last !== undefined && last >= (backup?.last ?? 0)) {
      const history = logWithBackup(log, stores);
      const identity = (await readLogIdentity(history)) ?? ofLog;
      const covered = [{ first: identity.bounds.first + (offset ?? 0), last }];
      return { history, identity, last, source: "log", backup: undefined, covered };
    }
  }
  if (backup === undefined) return undefined;
  const last = Math.min(backup.last, continuedAt);
  const covered = backup.covered
    .filter(({ first }) => first <= last)
    .map((run) => ({ first: run.first, last: Math.min(run.last, last) }));
  if (covered.length === 0) return undefined;
  const { store } = backup;
  const whole = last < backup.last ? new BackupLog({ store, logId, endsWith: last }) : backup.log;
  const history = logWithBackup(whole, stores);
  const identity = await readLogIdentity(history);
  return identity && { history, identity, last, source: "backup", backup, covered };
}

/** Counts the segments that are read, including those of the logs that this one continues. */
async function segmentsRead(
  { backup, history, identity }: Readable,
  from: TxId,
  upTo: TxId,
  { stores }: PastOptions,
): Promise<PastPlan["segments"]> {
  let { count, bytes } = backup?.segments(from, upTo) ?? NONE;
  for (const { logId, last } of await history.earlier.ends(identity.birth)) {
    if (last <= from) break;
    const read = (await furthestBackup(stores, logId))?.segments(from, Math.min(last, upTo)) ?? NONE;
    count += read.count;
    bytes += read.bytes;
  }
  return { count, bytes };
}

/** Returns a view of a backup that ends with a transaction, so that a hole after it does not matter. */
async function endedWith(readable: Readable, txId: TxId, { stores }: PastOptions): Promise<Readable> {
  const { backup, identity, covered } = readable;
  if (backup === undefined || !covered.some(({ first }) => first <= txId)) return readable;
  const ended = new BackupLog({ store: backup.store, logId: identity.id, endsWith: txId });
  const history = logWithBackup(ended, stores);
  const ofHistory = await readLogIdentity(history);
  return ofHistory === undefined ? readable : { ...readable, history, identity: ofHistory };
}

/** Returns the requested transaction, or the nearest readable one before it; undefined if there is none. */
async function pointIn(
  readable: Readable,
  checkpoints: readonly CandidateCheckpoint[],
  { at, kvFormat, signal }: PastOptions,
): Promise<{ readonly txId: TxId; readonly exact: boolean } | undefined> {
  const { history, identity, last, source } = readable;
  if (at === undefined) return { txId: last, exact: true };
  if ("txId" in at) {
    const txId = nearestIn(readable, at.txId);
    return txId === undefined ? undefined : { txId, exact: txId === at.txId };
  }
  let state = await beginningOf(history, identity);
  for (const one of checkpoints) {
    if (
      Date.parse(one.txTime) > at.time ||
      (await judged(one, readable, kvFormat, UNUSABLE_SEGMENT)) !== true
    )
      continue;
    const { log, txId, anchor, txTime } = one;
    state = { ...emptyState(identity), log, txId, time: Date.parse(txTime), sha256: anchor.sha256 };
    break;
  }
  if (state === undefined) return undefined;
  const begin = state.txId;
  let { txId } = state;
  // A transaction's time is the latest time of any message up to it, so the first message after the requested time ends
  // the search.
  const found = (exact: boolean) =>
    txId === begin && !checkpoints.some((one) => one.txId === begin) ? undefined : { txId, exact };
  const upTo = last - logOffset(identity, state);
  try {
    reading: for await (const messages of followHistory(history, identity, state, { signal, upTo })) {
      for (const { time } of messages) {
        if (time > at.time) return found(true);
        txId += 1;
        if (txId >= last) break reading;
      }
    }
  } catch (error) {
    // The backup has a hole before the point, or the log begins after it.
    if (isCairnError(error, "LOG_TRIMMED", "LOG_GAP")) return found(false);
    throw error;
  }
  signal.throwIfAborted();
  // The log itself may contain transactions that are not in the backup yet.
  return { txId, exact: source === "log" };
}

/** Returns the last readable transaction up to `txId`; undefined if there is none. */
function nearestIn({ covered, backup }: Readable, txId: TxId): TxId | undefined {
  // The backup of an earlier log may hold the transaction.
  if (backup !== undefined && txId <= backup.offset) return txId;
  const run = covered.findLast(({ first }) => first <= txId);
  // A checkpoint may end before the first run, at or before the transaction.
  return run === undefined ? txId : Math.min(run.last, txId);
}

/** Returns the checkpoint from which an index at `txId` can be built (none if from empty); undefined if it cannot. */
async function basisOf(
  readable: Readable,
  checkpoints: readonly CandidateCheckpoint[],
  txId: TxId,
  { kvFormat }: PastOptions,
): Promise<{ readonly checkpoint: CandidateCheckpoint | undefined } | undefined> {
  const { history, identity, backup } = readable;
  const { offset = 0 } = backup ?? {};
  const from = backup === undefined ? 0 : beginningOfRun(backup, txId);
  for (const one of checkpoints) {
    // After one of an earlier log, all of this one is read.
    if (one.txId > txId || Math.max(one.txId, offset) + 1 < from) continue;
    if ((await judged(one, readable, kvFormat, UNUSABLE_SEGMENT)) === true) return { checkpoint: one };
  }
  const isWhole = from <= offset + 1;
  const empty = isWhole ? await beginningOf(history, identity) : undefined;
  return empty === undefined ? undefined : { checkpoint: undefined };
}

/** Returns from where a backup holds everything up to `txId`: 0 if that is in an earlier log, infinity if not held. */
function beginningOfRun({ covered, offset }: FurthestBackup, txId: TxId): TxId {
  if (txId <= offset) return 0;
  const run = covered.find(({ first, last }) => first <= txId && txId <= last);
  return run?.first ?? Number.POSITIVE_INFINITY;
}

/** Returns how a log or its backup judges a checkpoint; false if it fails with one of `failures`. */
async function judged(
  one: CandidateCheckpoint,
  { history, identity }: Readable,
  kvFormat: string,
  failures: typeof UNUSABLE_SEGMENT | typeof CONTRADICTORY,
): Promise<Awaited<ReturnType<typeof acceptManifest>> | false> {
  return await unlessFailed(acceptManifest(one, kvFormat, history, identity), failures, false);
}
