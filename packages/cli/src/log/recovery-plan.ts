import type { CheckpointStore } from "@cairn/checkpoint";
import {
  askHolders,
  type AskedHolder,
  askStatus,
  type CopiedIndex,
  dbDirLayout,
  EarlierLogs,
  findLostLog,
  holdsTransactions,
  indexAlone,
  isUnused,
  lastStored,
  leftBehind,
  type LeftBehind,
  type LogIdentity,
  lookBeforeBeginning,
  type PastIndex,
  type PastPlan,
  type PastPoint,
  type Peer,
  planPast,
  readQuarantine,
  type System,
  type TxLog,
  usedLog,
} from "@cairn/engine";
import { CairnError, unlessFailed } from "@cairn/kv";
import { formatNumberOf, isoTime } from "@cairn/text";
import type { ConfiguredLog } from "../places/configured-system.ts";
import type { CommandRun } from "../options/command.ts";
import { copyFrom, type IndexCopy } from "../places/copied-index.ts";
import { notReached } from "../places/past-point.ts";

/** Where the new log begins, and the log that exists there; it is replaced if it is unused. */
export interface RecoveryPlace extends ConfiguredLog {
  readonly existing: LogIdentity | undefined;
}

type PlanOptions = Parameters<typeof planPast>[0];

/** Asks the nodes that have a log open, which must answer within two seconds. */
export async function askPeers({ peers }: TxLog): Promise<Peer[]> {
  return peers === undefined ? [] : await askStatus(peers, { timeoutMs: 2_000 });
}

/** Returns the error for a log that is in use and must not be replaced. */
export async function whyNotReplaced(
  log: TxLog,
  existing: LogIdentity | undefined,
): Promise<CairnError | undefined> {
  if (existing === undefined) return undefined;
  if (!isUnused(existing) || log.removeUnused === undefined)
    return usedLog(log.name, existing.bounds.last, replaceOnPurpose(log.name));
  const peers = await askPeers(log);
  const writers = peers.filter(({ status }) => status.log.id === existing.id && status.phase !== "failed");
  if (writers.length === 0) return undefined;
  // These nodes could write to the log before it is removed, and transactions that they acknowledged would be lost.
  const names = writers.map(({ node }) => node).join(", ");
  return new CairnError(
    "CONFLICT",
    `A new log "${log.name}" has already been begun, and nodes have it open: ${names}.`,
    "Stop them, run the command again, and start them: they continue with the log that the command begins.",
  );
}

function replaceOnPurpose(name: string): string {
  return `Nothing was changed; --dry-run shows what the command would do. To replace a working log on purpose, remove it first: nats stream rm ${name} (embedded: stop the node and move the log's folder away). The nodes' indexes then hold the only copy of the transactions that its backup lacks.`;
}

export type PlanRequest = Partial<Pick<PlanOptions, "at" | "logId">> &
  Pick<PlanOptions, "found" | "onSkipped" | "signal">;

/**
 * Plans where a lost log is continued: at the requested point or, without one, at the furthest that the stores and the
 * node's own index lead to. Throws `CHECKPOINT_NOT_FOUND` if nothing leads exactly there, and `CONFLICT` if no point was
 * requested and it is unclear which of two histories the log had last.
 */
export async function furthestPlan(
  { log, system, existing }: RecoveryPlace,
  stores: readonly CheckpointStore[],
  own: CopiedIndex | undefined,
  request: PlanRequest,
): Promise<PastPlan> {
  const { at, signal } = request;
  const kvFormat = system.kvProvider.format;
  const isInUse = existing !== undefined && !isUnused(existing);
  const isChosen = request.logId !== undefined || isInUse;
  const lost = isChosen
    ? undefined
    : await findLostLog(stores, { name: log.name, kvFormat, exceptId: existing?.id, signal });
  const logId = request.logId ?? (isInUse ? await logAt(existing, stores, at) : lost?.id);
  const wanted = { ...request, stores, kvFormat };
  const usable = own?.state.log.name === log.name && at === undefined && holdsTransactions(own.state.txId);
  const index = usable && lost?.obsolete.has(own.state.log.id) !== true ? own : undefined;
  if (logId === undefined) {
    if (index !== undefined) return indexAlone(index);
    throw await nothingHere(log, system);
  }
  // What an index lacks is reported as left behind.
  const onSkipped = index === undefined ? request.onSkipped : undefined;
  const planning = storedPlan({ ...wanted, logId, onSkipped });
  if (index === undefined) return await planning;
  const { place, state } = index;
  const { txId, log: of } = state;
  if (of.id !== logId) {
    const plan = await planning;
    if (isChosen) return plan;
    // Its log was begun where the other one ended, as far as the stores know that one.
    if (of.offset >= plan.known) return indexAlone(index);
    throw new CairnError(
      "CONFLICT",
      `The index in ${place} ends with transaction ${txId} of the log ${of.id}, and the stores lead to transaction ${plan.known} of the log ${logId}. It is unclear which of them was lost last.`,
      `Choose one of them: --log ${of.id} (the index) or --log ${logId} (the stores).`,
    );
  }
  const plan = await unlessFailed(planning, ["CHECKPOINT_NOT_FOUND", "LOG_REGRESSED"], undefined);
  if (plan !== undefined && plan.txId >= txId) return plan;
  const known = Math.max(txId, plan?.known ?? (await lastStored(stores, logId, signal)));
  return { ...indexAlone(index), known };
}

/** Returns the error for a log of which nothing is left here, with what to do about it that works as things are. */
async function nothingHere(log: TxLog, system: System): Promise<CairnError> {
  const { holders, cure, override } = await lookBeforeBeginning(log, system);
  const elsewhere =
    "Name a checkpoint or an index in another place with --from PATH, run the command on the machine of a node that has an index, or begin an empty log with cairn log create.";
  const held = holders.length === 0 ? "" : `, but ${holders.join("; ")}`;
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `Neither the configured stores nor the index of this node holds transactions of a log "${log.name}"${held}.`,
    holders.length === 0 ? elsewhere : `${cure} ${override}`,
  );
}

/** Throws `CHECKPOINT_NOT_FOUND` for a point at which nothing but the birth record precedes the new log. */
export function requireTransactions({ txId, log: { id } }: PastIndex["state"]): void {
  if (holdsTransactions(txId)) return;
  throw new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `Up to transaction ${txId}, the log ${id} holds only its birth record, so there is nothing to continue from.`,
    "To begin an empty log instead, run cairn log create --empty (with an embedded log, stop the node first).",
  );
}

async function storedPlan(wanted: PlanOptions): Promise<PastPlan> {
  const { at, stores, logId } = wanted;
  const plan = await planPast(wanted);
  const later = plan.others.find(({ isLater }) => isLater);
  if (at === undefined && later !== undefined) throw contested(logId, plan, later);
  // The backup determines the last transaction at or before a time, but it may end before that time.
  const reaches = plan.exact || at === undefined || ("time" in at && plan.history !== undefined);
  if (reaches) return plan;
  const hint = `Use --at-tx ${plan.txId} to continue after the last earlier transaction that can be read back.`;
  throw notReached(plan, at, stores, hint);
}

function contested(
  logId: string,
  { txId, checkpoint, history }: PastPlan,
  other: PastPlan["others"][number],
): CairnError {
  const end = history === undefined ? (checkpoint?.name ?? "") : "its log backup";
  const choice = history === undefined ? `--from ${end}` : `--at-tx ${txId}`;
  return new CairnError(
    "CONFLICT",
    `The stores hold two histories of the log ${logId}: ${end} ends with transaction ${txId}, and ${other.checkpoint} of another history, which seems to have continued later, with transaction ${other.txId} at ${isoTime(other.time)}.`,
    `Choose one of them: ${choice}, or --from ${other.checkpoint}. The new log has none of the transactions that only the other one contains.`,
  );
}

/** Returns the id of the log that contains a point: the given log, or the earlier log that contains the transaction. */
async function logAt(
  { id, birth }: LogIdentity,
  stores: readonly CheckpointStore[],
  at: PastPoint | undefined,
): Promise<string> {
  // The command may have begun this log itself, before it was ended.
  if (at === undefined) return birth?.continues?.log ?? id;
  const ends = await new EarlierLogs(stores).ends(birth);
  const earlier = ends.findLast(({ last }) => "txId" in at && at.txId <= last);
  return earlier?.logId ?? id;
}

/** Compares what the stores, the log itself, and everything that {@link askHolders} asks hold with the planned history. */
export async function leavesBehind(
  run: CommandRun,
  { log, existing, system }: RecoveryPlace,
  { own: { copy, unread }, known }: { readonly own: IndexCopy; readonly known: readonly CheckpointStore[] },
  { plan, past }: { readonly plan: PastPlan; readonly past: PastIndex },
): Promise<LeftBehind> {
  const holders: AskedHolder[] = [];
  if (unread !== undefined) holders.push({ kind: "own", holder: unread });
  if (copy !== undefined && copy.state.log.name === log.name && copy.dir !== past.live) {
    const { txId } = copy.state;
    const holder = `the index in ${copy.place} holds transactions up to ${txId}`;
    holders.push({ kind: "own", holder, txId, copy });
  }
  // What a node found to be missing in the lost log was missing before.
  const quarantined = await readQuarantine(dbDirLayout(system.dbDir).quarantine);
  const reported = quarantined.filter(({ held }) => held.comparedWith === plan.logId);
  for (const one of await askHolders(log, system, { signal: run.signal })) {
    const { kind, folder, error, txId } = one;
    if (kind === "own" || (kind === "stores" && error === undefined)) continue;
    if (reported.some((index) => index.folder === folder)) continue;
    const read = folder === undefined || txId === undefined ? {} : await copyFrom(run, system, folder);
    holders.push(read.unread === undefined ? { ...one, ...read } : { kind, holder: read.unread });
  }
  return await leftBehind({ log, existing, system, stores: known, plan, past, signal: run.signal }, holders);
}

/** Returns the error that asks whether transactions are to be left behind. */
export function wouldLeave({ count, isAtMost, holders }: LeftBehind, { txId }: PastPlan): CairnError {
  const lacks = `would lack ${isAtMost ? "up to " : ""}${formatNumberOf(count, "transaction")} that are known`;
  return new CairnError(
    "CONFLICT",
    `A log that continues after transaction ${txId} ${count === 0 ? "may lack transactions" : lacks}: ${holders.join("; ")}.`,
    "Nothing was changed. To continue from the index of a node, run the command on its machine, with its configuration and environment; a checkpoint, a folder or a store can be named with --from. To leave these transactions behind, add --yes; the nodes then keep their indexes in quarantine.",
  );
}
