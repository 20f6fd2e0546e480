import { randomUUID } from "node:crypto";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Policies } from "@cairn/client";
import { CairnError, isCairnError, mayHaveHeldRows, mayHoldRows, unlessFailed, withTimeout } from "@cairn/kv";
import { endsWithin } from "../backup/earlier-logs.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { MovedContents } from "../db-dir/index-directory.ts";
import { IndexStore } from "../index/index-store.ts";
import { type OpenedIndex, tryOpenIndex } from "../index/local-index.ts";
import {
  emptyState,
  FIRST_TX_ID,
  holdsTransactions,
  type IndexState,
  statePosition,
} from "../index/rows/index-state.ts";
import { checkAnchor, trimmed } from "../log/anchor.ts";
import { anchorOfPrefix, type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import { beginningOf } from "../replay/fold-log.ts";
import { obsoleteLogs } from "../transactions/birth-record.ts";
import { foreignIndex, indexBehind, noBeginning, replacedIndex } from "./join-errors.ts";
import { lookBeforeBeginning } from "./may-begin.ts";
import { commonWithIndex, type FilledIndex, sharedOf } from "./common-history.ts";
import { isContainedIn, movedContents, reassessQuarantine } from "./held-transactions.ts";
import { judgeOldCopy, oldCopyByNodes } from "./old-copy.ts";
import { type RestoreContext, restoreNewest } from "./restore-index.ts";
import { historyOfIndex, shownLost } from "./shown-lost.ts";
import type { StoreWait } from "./store-wait.ts";
import { beginLog, emptyLog, requireNoLostLog, warnOfWrongLog } from "./wrong-log.ts";

interface JoinContext extends RestoreContext {
  /** The error that ended following, if any. The local index must then not be used, even if it can be opened. */
  readonly suspect: CairnError | undefined;
  readonly storeWait: StoreWait;
  /** The id of the log that the node followed before. What the stores show of it is looked at while it runs. */
  readonly followed: string | undefined;
  /** The folder of an index that replaces a suspect one, on the same file system. */
  readonly replacement: string | undefined;
  /** True if the log lacks the messages after the local index, so that only a checkpoint beyond them helps. */
  readonly beforeGap: boolean;
  /**
   * Called with a local index as soon as it is open, so that it can serve stale reads until the log responds. The
   * receiver closes the index. Undefined means that the index is about to be moved aside.
   */
  readonly onLocal: (index: IndexStore | undefined) => void;
}

/** An index that agrees with its log. Messages after the index's state have not been replayed yet. */
export interface JoinedIndex {
  readonly index: IndexStore;
  readonly identity: LogIdentity;
}

/**
 * Finds the index from which a node continues. In order of preference, this is the local index if it agrees with the
 * log, the newest checkpoint that can be trusted, an empty index if the log still contains everything, or a checkpoint
 * that is marked as damaged. Unusable indexes are moved to quarantine, never deleted. Throws `LOG_DIFFERENT`,
 * `LOG_REGRESSED` (if configured to halt) or `LOG_TRIMMED` if there is no such index; after `LOG_UNREACHABLE` and
 * `STORE_UNREACHABLE`, another attempt may succeed. An unreachable log or store is never treated as empty.
 */
export async function joinIndex(context: JoinContext): Promise<JoinedIndex> {
  await context.directory.sweep("staging");
  context.report.orphans = await context.directory.countOrphans();
  const local = await openLocal(context);
  let asked: Promise<CairnError | undefined> | undefined;
  try {
    const identity = await identifyLog(context, local?.state);
    if (identity.id !== context.followed) {
      asked = askNodes(context, identity);
      await refuseOldCopy(context, identity, local);
    }
    const problem = local && (await asked);
    if (problem !== undefined) throw problem;
    const index = await keepLocal(context, identity, local);
    if (index !== undefined) return await withQuarantine(context, { index, identity });
  } catch (error) {
    // An index with a state has been handed over; its receiver closes it.
    if (local?.state === undefined) await local?.kv.close();
    throw error;
  }
  // The identity is read again, because it can take a long time to judge the local index, and the log may have been
  // trimmed in the meantime.
  const joined = await joinWithoutLocal(context, await reidentify(context));
  const problem = await asked;
  if (problem === undefined) return await withQuarantine(context, joined);
  await joined.index.close();
  throw problem;
}

/** How long other nodes may take to say that the log is an old copy (ms). An index is restored meanwhile. */
const ASK_MS = 250;

/** If this fails, the node asks again when it is ready. */
async function askNodes({ log, signal }: JoinContext, { id }: LogIdentity): Promise<CairnError | undefined> {
  return await oldCopyByNodes(log, id, { timeoutMs: ASK_MS, signal }).catch(() => undefined);
}

/** Determines the orphans, because only an index that agrees with the log shows what the log's history contains. */
async function withQuarantine(context: JoinContext, joined: JoinedIndex): Promise<JoinedIndex> {
  const { index, identity } = joined;
  const { system, directory, log, report } = context;
  const filled = { kv: index.rows, state: index.state };
  await reassessQuarantine(directory, system.kvProvider, filled, log, identity);
  report.orphans = await directory.countOrphans(identity.id);
  report.uncompared = await directory.uncompared();
  if (!(await isShown(log, identity, index.state))) {
    await index.noteUnshown();
    const message =
      "The log no longer holds the last message of the index, so it cannot show that its history is that of the index; no checkpoint and no node that answered shows another one. `cairn status --cluster --digest` compares the nodes.";
    context.logger.warn({ log: log.name, txId: index.state.txId }, message);
  }
  await warnOfWrongLog(context, identity);
  return joined;
}

async function openLocal(context: JoinContext): Promise<OpenedIndex | undefined> {
  const { system, directory, suspect, replacement } = context;
  if (!system.kvProvider.persistent || !(await directory.hasLive())) return undefined;
  const unusable = suspect ?? (await directory.distrusted());
  // A restore verifies digests while it unpacks, so only an index from an earlier start is checked here.
  const opened =
    unusable === undefined
      ? await tryOpenIndex(system.kvProvider, directory.layout.live, { check: true }).catch(explainUse)
      : { unusable };
  if ("unusable" in opened) {
    // There was a log while the node ran, and the index counts as evidence of it in quarantine, too.
    const { live } = directory.layout;
    if (suspect === undefined && (await mayHaveHeldRows(live))) await requireLog(context, opened.unusable);
    // What the log holds of it is known once the node has joined.
    await moveAside(context, opened.unusable, { holdsLost: await mayHoldRows(live) });
    if (suspect === undefined || replacement === undefined) return undefined;
    await directory.place(replacement);
    return await openLocal({ ...context, suspect: undefined });
  }
  if (opened.state !== undefined) context.onLocal(await IndexStore.open(opened.kv, opened.state));
  return opened;
}

/** The node holds its db-dir, so a program that has the index open only reads it, and closes it again. */
function explainUse(error: unknown): never {
  if (!isCairnError(error, "INDEX_LOCKED")) throw error;
  const hint = "Wait: the node continues by itself once the command that reads the index has ended.";
  throw new CairnError("SYSTEM_REFUSED", error.message, { hint, cause: error });
}

/**
 * If there is no log, an unusable index is evidence that one existed. Unless the configuration allows a rebuild, throws
 * then, so that the index stays in place until an operator decides. An index of another version may belong to a log that
 * only that version can read, for which this throws as well.
 */
async function requireLog({ log, system, signal }: JoinContext, unusable: CairnError): Promise<void> {
  if (system.onLogMismatch.different === "rebuild" || (await readLogIdentity(log)) !== undefined) return;
  throw emptyLog(log, await lookBeforeBeginning(log, system, { own: { unusable }, signal }));
}

/** Creates the log if it does not exist and there is no evidence that it ever existed. */
async function identifyLog(context: JoinContext, local: IndexState | undefined): Promise<LogIdentity> {
  const identity = await readLogIdentity(context.log, local?.log.id);
  if (identity !== undefined) return identity;
  await beginLog(context, local);
  return await reidentify(context);
}

/** How long a node that joins waits for stores that may show that its log is an old copy (ms); it looks again later. */
const OLD_COPY_MS = 3_000;

/** Nothing is moved aside for an old copy of a log, and nothing is served from it, or written to it. */
async function refuseOldCopy(
  { log, system, report, signal }: JoinContext,
  identity: LogIdentity,
  local: OpenedIndex | undefined,
): Promise<void> {
  const stores = restoreStores(system);
  const index = local?.state && { kv: local.kv, state: local.state };
  const judging = unlessFailed(judgeOldCopy(log, identity, stores, index, signal), "any", undefined);
  const error = await report.whileAsking(stores, () => withTimeout(judging, OLD_COPY_MS));
  if (error instanceof CairnError) throw error;
}

async function reidentify({ log }: JoinContext): Promise<LogIdentity> {
  const identity = await readLogIdentity(log);
  if (identity !== undefined) return identity;
  throw new CairnError(
    "LOG_UNREACHABLE",
    `The log "${log.name}" disappeared while the node joined.`,
    "Do nothing: the node tries again.",
  );
}

/**
 * Returns the local index if it agrees with the log, or a newer index that replaces it if the log lacks the messages
 * after it. Otherwise moves the local index aside, if that is allowed, and returns undefined.
 */
async function keepLocal(
  context: JoinContext,
  identity: LogIdentity,
  local: OpenedIndex | undefined,
): Promise<IndexStore | undefined> {
  if (local === undefined) return undefined;
  const { state } = local;
  if (state === undefined) {
    const empty = context.beforeGap ? undefined : await beginningOf(context.log, identity);
    if (empty !== undefined) return await IndexStore.open(local.kv, empty);
    const reason = "The local index is empty and the log's beginning no longer exists.";
    return await discard(context, local, new CairnError("LOG_TRIMMED", reason));
  }
  const leave = async (reason: CairnError, newer?: OpenedIndex): Promise<void> => {
    const other = newer?.state === undefined ? undefined : { kv: newer.kv, state: newer.state };
    const contents = await movedContents({ kv: local.kv, state }, context.log, identity, other);
    await closeLocal(context, local);
    await moveAside(context, reason, contents, identity.id);
  };
  const problem = await disagreement(context, identity, { kv: local.kv, state });
  if (problem === undefined) {
    const beyond = await replaceUnproven(context, identity, state, leave);
    return beyond ?? (await IndexStore.open(local.kv, emptyState(identity)));
  }
  // The index is of a log that replaced a lost one, or was named by mistake, and nothing was written to that log.
  if (problem.code === "LOG_DIFFERENT" && holdsNothing(state, context.system.policies))
    return await discard(context, local, problem);
  let reason = problem;
  if (problem.code === "LOG_DIFFERENT") {
    if (obsoleteLogs(identity.birth).includes(state.log.id)) reason = replacedIndex(identity, state);
    const later = await overUnknownLogs(context, identity, { kv: local.kv, state }, reason, leave);
    if (later !== undefined) return later;
  }
  requireMoving(reason, context);
  if (reason.code !== "LOG_TRIMMED") return void (await leave(reason));
  // The index is outdated but not wrong, so it serves stale reads until a newer one is restored.
  const newer = await restoreNewest(context, identity, { leave: (other) => leave(problem, other) });
  if (newer === undefined)
    throw noBeginning(context.log, identity, context.report, restoreStores(context.system));
  return newer;
}

/** Returns whether an index holds nothing but, at most, the policies that a node with this configuration proposes. */
function holdsNothing({ txId, policies, documents, events }: IndexState, proposed?: Policies): boolean {
  if (!holdsTransactions(txId)) return true;
  if (txId > FIRST_TX_ID + 1 || documents > 0 || events !== undefined) return false;
  return policies !== undefined && isDeepStrictEqual(policies.value, proposed);
}

/**
 * Returns an index from a newer checkpoint, of which the log holds the last message, if the log lacks messages after the
 * local index, or begins directly after it: then nothing is missing, but the log does not show that its history is that
 * of the index. Wherever Cairn itself trims the log, there is such a checkpoint. Undefined if there is none, or no need.
 */
async function replaceUnproven(
  context: JoinContext,
  identity: LogIdentity,
  state: IndexState,
  leave: (reason: CairnError, newer: OpenedIndex) => Promise<void>,
): Promise<IndexStore | undefined> {
  const { log, beforeGap } = context;
  if (!beforeGap && (await isShown(log, identity, state))) return undefined;
  const position = statePosition(state);
  const reason = beforeGap
    ? new CairnError("LOG_GAP", "The log lacks the messages after the local index.")
    : trimmed(log.name, position, position);
  // Unless messages are missing, the local index goes on, so no marked checkpoint is needed.
  return await restoreNewest({ ...context, marked: beforeGap }, identity, {
    leave: async (other) => await leave(reason, other),
    beyond: state,
  });
}

/** Returns whether a log shows that its history is that of an index: by the index's last message, or by its own end. */
async function isShown(log: LogHistory, { id, bounds }: LogIdentity, state: IndexState): Promise<boolean> {
  const position = statePosition(state);
  if (position === 0 || position >= bounds.last || state.log.id !== id) return true;
  return (await log.fetch(position)) !== undefined;
}

async function disagreement(
  context: JoinContext,
  identity: LogIdentity,
  { kv, state }: FilledIndex,
): Promise<CairnError | undefined> {
  const { log, txId, sha256 } = state;
  if (log.id !== identity.id) {
    const end = { logId: log.id, txId, sha256 };
    const { earlier } = context.log;
    if ((await earlier.wayFrom(end, identity.birth)) !== undefined) return undefined;
    const last = (await earlier.endInCommon(log.id, identity.birth))?.last;
    if (last === undefined || txId >= last) return foreignIndex(identity, state, last);
    const held = await earlier.find(log.id, identity.birth);
    const isOther = held !== undefined && txId >= held.first && !(await endsWithin(held, end));
    return isOther ? foreignIndex(identity, state, last) : indexBehind(identity, state, last);
  }
  const problem = await checkAnchor(context.log, anchorOfPrefix(state));
  return problem ?? (await shownLost(context, await historyOfIndex({ kv, state })));
}

/**
 * A log names only the one that it continues, so without a backup of that one, it does not show whether it continues the
 * log of an older index. The index in a checkpoint does, because it contains the transactions of all these logs. Returns
 * that index, in place of the local one; undefined if there is no checkpoint.
 */
async function overUnknownLogs(
  context: JoinContext,
  identity: LogIdentity,
  local: FilledIndex,
  problem: CairnError,
  leave: (reason: CairnError, newer: OpenedIndex) => Promise<void>,
): Promise<IndexStore | undefined> {
  const isFirst = identity.birth !== undefined && identity.birth.continues === undefined;
  if (isFirst) return undefined;
  const judge = async (newer: FilledIndex): Promise<CairnError> => {
    if (await isContainedIn(local, newer)) return indexBehind(identity, local.state, undefined);
    const common = await commonWithIndex(local, newer);
    if (common.same <= local.state.log.offset) return problem;
    return foreignIndex(identity, local.state, (await sharedOf(local, common)).txId);
  };
  return await restoreNewest(context, identity, {
    leave: async (newer) => {
      const reason = newer.state === undefined ? problem : await judge({ kv: newer.kv, state: newer.state });
      requireMoving(reason, context);
      await leave(reason, newer);
    },
  });
}

/** Throws `problem` if the configuration does not allow the node to move its index aside because of it. */
function requireMoving(problem: CairnError, { system: { onLogMismatch } }: JoinContext): void {
  if (problem.code === "LOG_DIFFERENT" && onLogMismatch.different === "halt") throw problem;
  if (problem.code === "LOG_REGRESSED" && onLogMismatch.regressed === "halt") throw problem;
}

/** Moves aside an index without transactions, without reporting it. */
async function discard(context: JoinContext, local: OpenedIndex, reason: CairnError): Promise<undefined> {
  await closeLocal(context, local);
  await context.directory.moveAside(reason, { holdsLost: false });
  return undefined;
}

async function closeLocal({ onLocal }: JoinContext, { kv }: OpenedIndex): Promise<void> {
  onLocal(undefined);
  await kv.close();
}

async function moveAside(
  { directory, report, logger }: JoinContext,
  reason: CairnError,
  contents: MovedContents,
  logId?: string,
): Promise<void> {
  const moved = await directory.moveAside(reason, contents);
  const orphans = await directory.countOrphans(logId);
  report.movedAside.push(moved);
  report.orphans = orphans;
  const hint =
    orphans === 0
      ? "The node builds a new index from a checkpoint and the log."
      : "Print the transactions that only indexes in quarantine contain with `cairn log orphans`, as input for `cairn load`.";
  const { code, message } = moved;
  logger.warn({ code, path: moved.path, orphans, hint }, `The index was moved aside: ${message}`);
}

async function joinWithoutLocal(context: JoinContext, identity: LogIdentity): Promise<JoinedIndex> {
  const { system, directory, log } = context;
  const restored = await restoreNewest({ ...context, marked: false }, identity).catch(
    async (error: unknown) => {
      await context.storeWait.ended(error, log, identity);
      context.logger.warn("the store cannot be read, so the index is built from the log, which is complete");
      return undefined;
    },
  );
  if (restored !== undefined) return { index: restored, identity };
  const { birth } = identity;
  const empty = birth && (await beginningOf(log, identity));
  if (birth === undefined || (birth.continues !== undefined && empty === undefined)) {
    const isMarked = context.report.skipped.some(({ code }) => code === "CHECKPOINT_CORRUPT");
    const marked = isMarked ? await restoreNewest(context, identity) : undefined;
    if (marked !== undefined) return { index: marked, identity };
    throw noBeginning(context.log, identity, context.report, restoreStores(system));
  }
  await requireNoLostLog(context, identity);
  const { live, staging } = directory.layout;
  const kv = await system.kvProvider.open(
    system.kvProvider.persistent ? live : path.join(staging, randomUUID()),
  );
  return { index: await IndexStore.open(kv, empty ?? emptyState(identity)), identity };
}
