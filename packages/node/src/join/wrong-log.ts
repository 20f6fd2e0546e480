import { listCheckpoints, parseCheckpointName, type SkippedCheckpoint } from "@cairn/checkpoint";
import { type CairnError, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { isUnused, type LogIdentity } from "../log/log-identity.ts";
import { emptyLog, maybeWrongLog, type OtherCheckpoint } from "./join-errors.ts";
import { findLostLog, lastOf, type LostLog } from "./lost-log.ts";
import type { RestoreContext } from "./restore-index.ts";

/** The parts that are needed to detect that a node was started with the wrong log. */
type WrongLogContext = Pick<RestoreContext, "system" | "log" | "report" | "signal"> & {
  readonly logger: Logger;
};

/** If the log is new and was not created on purpose, the node may have been started with the wrong log. */
export async function warnOfWrongLog(context: WrongLogContext, identity: LogIdentity): Promise<void> {
  if (!mayBeMistaken(identity)) return;
  try {
    const other = await newestOfOtherLogs(context, identity.id);
    if (other === undefined) return;
    const warning = maybeWrongLog(identity, other, context.system.dbDir);
    context.report.wrongLog = warning;
    context.logger.warn({ code: warning.code, hint: warning.hint }, warning.message);
  } catch (error) {
    // An unreachable store is reported when a checkpoint is saved to it, and the caller detects an abort.
    if (!isCairnError(error) && !context.signal.aborted) throw error;
  }
}

/**
 * Returns whether a misconfigured node may have begun the log, because it is unused and was not created by a command.
 */
function mayBeMistaken(identity: LogIdentity): boolean {
  return isUnused(identity) && identity.birth?.deliberate !== true;
}

/**
 * Throws the error for an empty log if a misconfigured node may have begun the log although the stores hold the remains
 * of another log of this name.
 */
export async function requireNoLostLog(context: WrongLogContext, identity: LogIdentity): Promise<void> {
  const { log, system } = context;
  if (!mayBeMistaken(identity) || system.onLogMismatch.different !== "halt") return;
  const lost = await lostLogOfName(context, log.name, identity.id);
  if (lost !== undefined) throw emptyDespite(log, lost, { isThere: true });
}

/** Returns evidence that a log existed, because a wrong address must not be mistaken for an empty cluster. */
export async function evidenceOfLog(
  context: WrongLogContext,
  local: IndexState | undefined,
): Promise<CairnError | undefined> {
  const { log } = context;
  if (local !== undefined) return await emptyUnder(local, context);
  const lost = await lostLogOfName(context, log.name);
  return lost === undefined ? undefined : emptyDespite(log, lost);
}

/** The index alone proves that a log existed; the stores are searched only for the hint. */
async function emptyUnder(local: IndexState, context: WrongLogContext): Promise<CairnError> {
  const { log } = context;
  const evidence = `the local index holds transactions up to ${local.txId}`;
  try {
    return emptyLog(log, evidence, await lostLogOfName(context, log.name));
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return emptyLog(log, evidence, error);
  }
}

function emptyDespite(log: LogHistory, lost: LostLog, options?: { readonly isThere: boolean }): CairnError {
  const { checkpoint, backup, unusable } = lost;
  const holder =
    backup !== undefined
      ? `the log backup in ${backup.store} holds transactions up to ${lastOf(lost)}`
      : checkpoint !== undefined
        ? `checkpoint ${checkpoint.name} holds transactions up to ${lastOf(lost)}`
        : `the manifest of checkpoint ${unusable?.name} shows transactions up to ${unusable?.txId}`;
  return emptyLog(log, holder, lost, options);
}

/**
 * Returns the newest checkpoint of the first store that has one, if none of the stores has a checkpoint of the log
 * `logId`. A checkpoint that cannot be used counts only if there is no other.
 */
async function newestOfOtherLogs(
  { system, report, signal }: WrongLogContext,
  logId: string,
): Promise<OtherCheckpoint | undefined> {
  const found: OtherCheckpoint[] = [];
  const unusable: OtherCheckpoint[] = [];
  for (const store of restoreStores(system)) {
    const { checkpoints, skipped } = await report.whileAsking([store], () => listCheckpoints(store, signal));
    found.push(...checkpoints);
    unusable.push(...skipped.flatMap(unusableOf));
  }
  found.push(...unusable);
  return found.some(({ log }) => log.id === logId) ? undefined : found[0];
}

function unusableOf({ name, logId, logName }: SkippedCheckpoint): OtherCheckpoint[] {
  const txId = parseCheckpointName(name)?.txId;
  // Without the id of its log, a checkpoint may be of this log.
  return logId === undefined || txId === undefined ? [] : [{ name, txId, log: { id: logId, name: logName } }];
}

/** Returns what the stores still hold of a log with this name and an id other than `exceptId`. */
async function lostLogOfName(
  { system, report, signal }: WrongLogContext,
  logName: string,
  exceptId?: string,
): Promise<LostLog | undefined> {
  const stores = restoreStores(system);
  return await report.whileAsking(stores, () => findLostLog(stores, logName, exceptId, signal));
}
