import { randomUUID } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import type { JoinContext } from "./join-context.ts";
import { IndexStore } from "../index/index-store.ts";
import { checkAnchor } from "../log/anchor.ts";
import { type LogIdentity, readLogIdentity, ofFirstVersion } from "../log/log-identity.ts";
import { continuesAt } from "../transactions/birth-record.ts";
import { isOfFirstVersion } from "../transactions/message-frame.ts";
import { encodeBirthRecord } from "../transactions/transaction-codec.ts";
import { emptyLog, foreignIndex, nothingToContinue, nothingToRestore, onlyOfOthers } from "./join-errors.ts";
import type { MovedContents } from "../db-dir/index-directory.ts";
import { type OpenedIndex, tryOpenIndex } from "../index/local-index.ts";
import { type IndexState, statePosition, emptyState } from "../index/rows/index-state.ts";
import { heldTransactions } from "./last-shared.ts";
import { restoreStores } from "../system/checkpoint-stores.ts";
import { newestCheckpointOfName, newestOfOthersOnly, restoreIndex } from "./restore-index.ts";

/** An index that agrees with its log; what follows its state has to be replayed. */
export interface JoinedIndex {
  readonly index: IndexStore;
  readonly identity: LogIdentity;
}

/**
 * Finds the index that a node goes on from: the local one where it agrees with the log, else the newest checkpoint that can be
 * trusted, else an empty one where the log still has everything. What cannot be used is moved aside, never deleted. Errors say why there is none:
 * `LOG_DIFFERENT`, `LOG_REGRESSED` (when configured to halt), `LOG_TRIMMED`; `LOG_UNREACHABLE` and `STORE_UNREACHABLE` are
 * worth trying again; nothing is taken for empty because it could not be reached.
 */
export async function joinIndex(context: JoinContext): Promise<JoinedIndex> {
  await context.directory.sweepStaging();
  context.report.orphans = await context.directory.countOrphans();
  const local = await openLocal(context);
  try {
    const identity = await identifyLog(context, local?.state);
    const index = await keepLocal(context, identity, local);
    if (index !== undefined) return await compared(context, { index, identity });
  } catch (error) {
    // One with a state was handed over and is the receiver's to close.
    if (local?.state === undefined) await local?.kv.close();
    throw error;
  }
  // Asked again: judging the local index may have lasted, and the log may have been trimmed meanwhile.
  return await compared(context, await joinWithoutLocal(context, await reidentify(context)));
}

/** Where its log is empty, and nobody began it on purpose, a node may be where it was not meant to be: it goes on, and says so. */
async function compared(context: JoinContext, joined: JoinedIndex): Promise<JoinedIndex> {
  const { identity } = joined;
  const { birth, bounds } = identity;
  const isNew = bounds.last <= 1 && birth?.deliberate !== true && birth?.continues === undefined;
  if (!isNew) return joined;
  try {
    const other = await newestOfOthersOnly(context, identity.id);
    if (other !== undefined) context.report.apart = onlyOfOthers(identity, other, context.system.dbDir);
  } catch (error) {
    // A store that is away is told by whoever saves to it; a node that stops meanwhile notices by itself.
    if (!isCairnError(error) && !context.signal.aborted) throw error;
  }
  return joined;
}

/** The local index, opened; one that cannot be used is moved aside at once. */
async function openLocal(context: JoinContext): Promise<OpenedIndex | undefined> {
  const { system, directory, suspect, replacement } = context;
  if (!system.kvProvider.persistent || !(await directory.hasLive())) return undefined;
  const unusable = suspect ?? (await directory.distrusted());
  // A restored index is compared with its digests on the way, and only what lies there from an earlier life is checked here.
  const opened =
    unusable === undefined
      ? await tryOpenIndex(system.kvProvider, directory.live, { check: true })
      : { unusable };
  if ("unusable" in opened) {
    const holdsLost = await mayAloneHold(context, opened.unusable);
    await moveAside(context, opened.unusable, { holdsLost });
    if (suspect === undefined || replacement === undefined) return undefined;
    await directory.place(replacement);
    return await openLocal({ ...context, suspect: undefined });
  }
  if (opened.state !== undefined) context.onLocal(await IndexStore.open(opened.kv, opened.state));
  return opened;
}

/**
 * Whether an index that is about to be moved aside may be the only one that holds something: one of another version cannot be asked, so
 * it is where the log was trimmed. Where there is no log it says that there was one, and stays in its place until a person looked.
 */
async function mayAloneHold({ log, system }: JoinContext, unusable: CairnError): Promise<boolean> {
  if (unusable.code !== "INDEX_VERSION") return false;
  // A log that this version does not read is refused before anything is moved: the version that reads it goes on with this index.
  const identity = await readLogIdentity(log);
  if (identity !== undefined) return identity.bounds.first > 1;
  if (system.onLogMismatch.different === "rebuild") return true;
  throw emptyLog(log.name, "the local index, which another version of Cairn made, was built from one");
}

/** Who the log is; makes it when there is none and nothing says that there was more. */
async function identifyLog(context: JoinContext, local: IndexState | undefined): Promise<LogIdentity> {
  const identity = await readLogIdentity(context.log);
  if (identity !== undefined) return identity;
  const problem = await saysThereWasMore(context, local);
  if (problem !== undefined && context.system.onLogMismatch.different === "halt") throw problem;
  await context.log.create((id) => encodeBirthRecord({ log: id, offset: 0 }));
  return await reidentify(context);
}

async function reidentify({ log }: JoinContext): Promise<LogIdentity> {
  const identity = await readLogIdentity(log);
  if (identity !== undefined) return identity;
  throw new CairnError("LOG_UNREACHABLE", `The log "${log.name}" was there and is not any more.`, {
    hint: "The node tries again.",
  });
}

/** A wrong address must not look like an empty cluster. */
async function saysThereWasMore(
  context: JoinContext,
  local: IndexState | undefined,
): Promise<CairnError | undefined> {
  const { log } = context;
  const newest = await newestCheckpointOfName(context, log.name);
  if (local !== undefined)
    return emptyLog(log.name, `the local index holds transactions up to ${local.txId}`, newest?.name);
  return newest === undefined ? undefined : emptyBeside(log.name, newest);
}

function emptyBeside(
  logName: string,
  { name, txId }: { readonly name: string; readonly txId: number },
): CairnError {
  return emptyLog(logName, `checkpoint ${name} holds transactions up to ${txId}`, name);
}

/** A restored checkpoint that is newer than an index which cannot be led on by the log, in its place; undefined where there is none. */
async function leapGap(
  context: JoinContext,
  identity: LogIdentity,
  { kv }: OpenedIndex,
  { txId }: IndexState,
): Promise<IndexStore | undefined> {
  const reason = new CairnError("LOG_GAP", "The log lacks messages behind the local index.");
  const leave = async (): Promise<void> => {
    context.onLocal(undefined);
    await kv.close();
    // It agrees with the log, and so do others that are further on.
    await moveAside(context, reason, { holdsLost: false });
  };
  return await restoreIndex(context, identity, leave, txId);
}

/**
 * The local index when it agrees with the log, or the newer one that takes its place where the log was trimmed in front of it;
 * else undefined, after it was moved aside where that is allowed.
 */
async function keepLocal(
  context: JoinContext,
  identity: LogIdentity,
  local: OpenedIndex | undefined,
): Promise<IndexStore | undefined> {
  if (local === undefined) return undefined;
  const { state } = local;
  const open = async (): Promise<IndexStore> => await IndexStore.open(local.kv, emptyState(identity));
  if (state === undefined) {
    if (hasBeginning(identity) && context.beforeGap !== true) return await open();
    const reason = new CairnError("LOG_TRIMMED", "The local index is empty and the log's beginning is gone.");
    return await discard(context, local, reason);
  }
  const problem = await disagreement(context, identity, state);
  if (problem === undefined) {
    const beyond = context.beforeGap === true ? await leapGap(context, identity, local, state) : undefined;
    return beyond ?? (await open());
  }
  // A log that was begun in the place of a lost one, and removed again before anything was written to it.
  if (problem.code === "LOG_DIFFERENT" && state.txId <= 1) return await discard(context, local, problem);
  const { onLogMismatch } = context.system;
  if (problem.code === "LOG_DIFFERENT" && onLogMismatch.different === "halt") throw problem;
  if (problem.code === "LOG_REGRESSED" && onLogMismatch.regressed === "halt") throw problem;
  const leave = async (): Promise<void> => {
    const held = await heldTransactions(local.kv, state, context.log, identity);
    context.onLocal(undefined);
    await local.kv.close();
    // What the log lost, trimmed or never had may be only here.
    const contents = { holdsLost: true, ...(held === undefined ? {} : { held }) };
    await moveAside(context, problem, contents);
  };
  if (problem.code !== "LOG_TRIMMED") return void (await leave());
  // It is old and not wrong: whoever asks for what is there gets it, until there is a newer one.
  const newer = await restoreIndex(context, identity, leave);
  if (newer === undefined)
    throw nothingToRestore(identity, context.report, restoreStores(context.system.checkpointer));
  return newer;
}

async function disagreement(
  context: JoinContext,
  identity: LogIdentity,
  state: IndexState,
): Promise<CairnError | undefined> {
  const { log, txId, sha256 } = state;
  if (log.id !== identity.id) {
    const goesOn = continuesAt(identity.birth, { logId: log.id, txId, sha256 });
    return goesOn ? undefined : foreignIndex(identity, state);
  }
  return await checkAnchor(context.log, { position: statePosition(state), sha256: state.sha256 });
}

/** Whether the log has everything from the first transaction on: nothing trimmed, and nothing in a log before it. */
function hasBeginning({ birth }: LogIdentity): boolean {
  return birth !== undefined && birth.continues === undefined;
}

/** An index that holds nothing is not worth keeping where the log does not have everything, or is another. */
async function discard(context: JoinContext, local: OpenedIndex, reason: CairnError): Promise<undefined> {
  context.onLocal(undefined);
  await local.kv.close();
  await context.directory.moveAside(reason, { holdsLost: false });
  return undefined;
}

async function moveAside(
  { directory, report, onMovedAside }: JoinContext,
  reason: CairnError,
  contents: MovedContents,
): Promise<void> {
  const moved = await directory.moveAside(reason, contents);
  report.movedAside.push(moved);
  report.orphans = await directory.countOrphans();
  onMovedAside(moved, report.orphans);
}

async function joinWithoutLocal(context: JoinContext, identity: LogIdentity): Promise<JoinedIndex> {
  const { system, directory, log } = context;
  const restored = await restoreIndex(context, identity);
  if (restored !== undefined) return { index: restored, identity };
  const { birth, bounds } = identity;
  if (birth === undefined) {
    // Only here: where a checkpoint holds what came before, such a message is one that was published to a log of this version.
    const oldest = await log.fetch(bounds.first);
    if (oldest !== undefined && isOfFirstVersion(oldest.payload)) throw ofFirstVersion(log.name);
    throw nothingToRestore(identity, context.report, restoreStores(system.checkpointer));
  }
  if (birth.continues !== undefined) {
    throw nothingToContinue(identity, birth.continues, context.report.skipped.length);
  }
  const isEmpty = bounds.last <= 1 && birth.deliberate !== true;
  if (isEmpty && system.onLogMismatch.different === "halt") {
    const newest = await newestCheckpointOfName(context, log.name, identity.id);
    if (newest !== undefined) {
      throw emptyBeside(log.name, newest);
    }
  }
  const dir = system.kvProvider.persistent ? directory.live : `${directory.staging}/${randomUUID()}`;
  const kv = await system.kvProvider.open(dir);
  return { index: await IndexStore.open(kv, emptyState(identity)), identity };
}
