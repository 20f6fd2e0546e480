import { parseCheckpointName } from "@cairn/checkpoint";
import { listCandidates } from "../checkpoints/candidates.ts";
import { CairnError, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { isUnused, type LogIdentity } from "../log/log-identity.ts";
import { encodeBirthRecord } from "../transactions/transaction-codec.ts";
import type { AskedLog, LookOptions } from "./log-holders.ts";
import { type Beginning, lookBeforeBeginning } from "./may-begin.ts";
import type { RestoreContext } from "./restore-index.ts";

type WrongLogContext = Pick<RestoreContext, "system" | "log" | "report" | "signal"> & {
  readonly logger: Logger;
};

/**
 * If the log is new and was not created on purpose, the node may have been started with the wrong log: if the cluster's
 * log is not configured, a node that was meant to join it silently begins a separate log.
 */
export async function warnOfWrongLog(context: WrongLogContext, identity: LogIdentity): Promise<void> {
  if (!mayBeMistaken(identity)) return;
  const { system, report, signal, logger } = context;
  const stores = restoreStores(system);
  try {
    const options = { signal, onRead: report.onRead };
    const { usable, skipped } = await report.whileAsking(stores, () => listCandidates(stores, options));
    // Usable ones come first. Without the id of its log, a checkpoint may be of this log.
    const found = [
      ...usable.map(({ name, txId, log }) => ({ name, txId, logId: log.id, logName: log.name })),
      ...skipped.map((one) => ({ ...one, txId: parseCheckpointName(one.name)?.txId })),
    ].filter(({ logId, txId }) => logId !== undefined && txId !== undefined);
    const [newest] = found;
    if (newest === undefined || found.some(({ logId }) => logId === identity.id)) return;
    // The log's name is unknown if the checkpoint is encrypted and there is no key for it.
    const { name, txId, logId, logName } = newest;
    const other = logName === undefined ? `the log ${logId}` : `"${logName}" (${logId})`;
    const warning = new CairnError(
      "LOG_DIFFERENT",
      `This node started with its own log, "${identity.name}", which was empty, but its checkpoint store contains only checkpoints of another log: ${name}, transaction ${txId} of ${other}.`,
      `If it was meant to join the nodes of that log, restart it with that log configured: a log on NATS with NATS_URL or cairn/tx-log. If anything has been written to its own log, move ${system.dbDir} away before it starts. ` +
        "Those writes remain in its own log. If it was meant to have its own log, configure a separate checkpoint store for it.",
    );
    report.wrongLog = warning;
    logger.warn({ code: warning.code, hint: warning.hint }, warning.message);
  } catch (error) {
    // An unreachable store is reported when a checkpoint is saved to it, and the caller detects an abort.
    if (!isCairnError(error) && !signal.aborted) throw error;
  }
}

/**
 * Returns whether a misconfigured node may have begun the log, because it is unused and was not created by a command.
 */
function mayBeMistaken(identity: LogIdentity): boolean {
  return isUnused(identity) && identity.birth?.deliberate !== true;
}

/**
 * Throws for an empty log that a misconfigured node may have begun although the stores hold another log of this name.
 */
export async function requireNoLostLog(context: WrongLogContext, identity: LogIdentity): Promise<void> {
  const { log, system } = context;
  if (!mayBeMistaken(identity) || system.onLogMismatch.different !== "halt") return;
  const found = await lookFor(context, { exceptId: identity.id });
  if (found.holders.length > 0) throw emptyLog(log, found, { isThere: true });
}

/** Creates the log unless something shows that it had transactions: a wrong address does not mean an empty cluster. */
export async function beginLog(context: WrongLogContext, local: IndexState | undefined): Promise<void> {
  const { log, system, logger } = context;
  const found = await lookFor(context, { own: local });
  // Another node may have begun it in the meantime, and be one of the holders.
  if (await log.exists()) return;
  if (found.holders.length > 0 && system.onLogMismatch.different === "halt") throw emptyLog(log, found);
  if (found.holders.length === 0)
    logger.info(`no transactions of the log "${log.name}" were found, so it begins now`);
  else logger.warn(`the log "${log.name}" begins now as configured, although ${found.holders.join("; ")}`);
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0 }));
}

async function lookFor(
  { log, system, report, signal }: WrongLogContext,
  options: LookOptions,
): Promise<Beginning> {
  const stores = restoreStores(system);
  return await report.whileAsking(stores, () => lookBeforeBeginning(log, system, { ...options, signal }));
}

/** Returns the error for a log that had transactions but is now missing or, if `isThere` is true, empty. */
export function emptyLog(
  { name, location, hasOneWriter }: AskedLog,
  { holders, cure, override }: Pick<Beginning, "holders" | "cure" | "override">,
  { isThere = false }: { readonly isThere?: boolean } = {},
): CairnError {
  const where = location === undefined ? "" : ` at ${location}`;
  const state = isThere ? `The log "${name}"${where} is empty` : `There is no log "${name}"${where}`;
  const check =
    hasOneWriter === true
      ? "Check the path of the log's folder. If the folder was moved, put it back, and restart the node"
      : "Check the log's address and name";
  return new CairnError(
    "LOG_DIFFERENT",
    `${state}, but ${holders.join("; ")}.`,
    `${check}. ${cure}${isThere ? "" : ` ${override}`} Nothing was deleted.`,
  );
}
