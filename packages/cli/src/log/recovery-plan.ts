import type { CheckpointStore } from "@cairn/checkpoint";
import {
  EarlierLogs,
  askStatus,
  restoreStores,
  isUnused,
  type LogIdentity,
  usedLog,
  findLostLog,
  type PastPlan,
  type PastPoint,
  planPast,
  beyondReach,
  type TxLog,
} from "@cairn/engine";
import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { isoTime } from "@cairn/text";
import { type ConfiguredLog, noStore } from "../places/configured-system.ts";

/** Where the new log begins, and the log that exists there; it is replaced if it is unused. */
export interface RecoveryPlace extends ConfiguredLog {
  readonly existing: LogIdentity | undefined;
}

type PlanOptions = Parameters<typeof planPast>[0];

/** The time within which nodes must report that they have a log open, in ms. */
const ASK_MS = 2_000;

/** Returns the error for a log that is in use and must not be replaced. */
export async function whyNotReplaced(
  log: TxLog,
  existing: LogIdentity | undefined,
): Promise<CairnError | undefined> {
  if (existing === undefined) return undefined;
  if (!isUnused(existing) || log.removeUnused === undefined)
    return usedLog(log.name, existing.bounds.last, REPLACE_ON_PURPOSE);
  const peers = log.peers === undefined ? [] : await askStatus(log.peers, { timeoutMs: ASK_MS });
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

const REPLACE_ON_PURPOSE =
  "Nothing was changed; --dry-run shows what the command would do. To replace a working log on purpose, remove it first: nats stream rm STREAM " +
  "(embedded: stop the node and move the log's folder away). The nodes' indexes then hold the only copy of the transactions that its backup lacks.";

/**
 * Plans where a lost log is continued: at the requested point or the furthest that the stores reach. Throws
 * `CHECKPOINT_NOT_FOUND` if nothing leads exactly there, and `CONFLICT` if no point was requested and it is unclear
 * which of two histories the log had last.
 */
export async function planRecovery(
  { log, system, existing }: RecoveryPlace,
  asked: Partial<Pick<PlanOptions, "at" | "logId">> & Pick<PlanOptions, "found" | "signal">,
): Promise<PastPlan> {
  const { at, signal } = asked;
  const stores = restoreStores(system);
  if (stores.length === 0) throw noStore("Give the path of a checkpoint with --from.");
  const kvFormat = system.kvProvider.format;
  const isInUse = existing !== undefined && !isUnused(existing);
  const logId =
    asked.logId ??
    (isInUse
      ? await logAt(existing, stores, at)
      : (await findLostLog(stores, { name: log.name, kvFormat, exceptId: existing?.id, signal }))?.id);
  if (logId === undefined) {
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `The configured stores have neither a checkpoint nor a backup of a log "${log.name}".`,
      "Name a checkpoint in another place with --from PATH, or begin an empty log with cairn log create.",
    );
  }
  const plan = await planPast({ ...asked, stores, kvFormat, logId });
  const later = plan.others.find(({ isLater }) => isLater);
  if (at === undefined && later !== undefined) throw contested(logId, plan, later);
  // The backup determines the last transaction at or before a time, but it may end before that time.
  const reaches = plan.exact || at === undefined || ("time" in at && plan.history !== undefined);
  if (reaches) return plan;
  const where = stores.map(({ location }) => location).join(" or ");
  const hint = `Use --at-tx ${plan.txId} to continue after the last earlier transaction that can be read back.`;
  const beyond = beyondReach(plan, at, where, hint);
  if (beyond !== undefined) throw beyond;
  const point = "txId" in at ? `transaction ${at.txId}` : isoTime(at.time);
  throw new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `Neither a checkpoint nor a log backup leads exactly to ${point}.`,
    hint,
  );
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
  const ends = await new EarlierLogs(stores).ends(birth);
  const earlier = ends.findLast(({ last }) => at !== undefined && "txId" in at && at.txId <= last);
  return earlier?.logId ?? id;
}

/** Returns the last transaction of a log known from the log, its backup, a checkpoint or a responding node. */
export async function lastKnownTx(
  { log, existing }: RecoveryPlace,
  logId: string,
  { known }: PastPlan,
): Promise<TxId> {
  let last = known;
  if (existing?.id === logId) last = Math.max(last, existing.bounds.last + (existing.birth?.offset ?? 0));
  const peers = log.peers === undefined ? [] : await askStatus(log.peers, { timeoutMs: ASK_MS });
  for (const { status } of peers) {
    if (status.log.id === logId) last = Math.max(last, status.index.txId ?? 0);
  }
  return last;
}
