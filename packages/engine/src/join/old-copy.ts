import type { CheckpointStore } from "@cairn/checkpoint";
import type { ChainValue, TxId } from "@cairn/client";
import { CairnError, unlessFailed } from "@cairn/kv";
import { readLineages, successorOf } from "../backup/backup-lineage.ts";
import { furthestBackup } from "../backup/furthest-backup.ts";
import { replacedByPointer } from "../backup/segments/backup-view.ts";
import { UNUSABLE_SEGMENT } from "../backup/segments/read-segment.ts";
import { listCandidates } from "../checkpoints/candidates.ts";
import { type AskOptions, askStatus } from "../cluster/ask-cluster.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { FilledIndex } from "./common-history.ts";
import { historyOfIndex } from "./shown-lost.ts";

/** A log that continues another one, directly or over others, with a clause that says what holds transactions of it. */
type Successor = Record<"id" | "holder", string>;

/** The log in question. Its birth record is undefined if it was trimmed. */
type AskedLog = Pick<LogIdentity, "id"> & Partial<Pick<LogIdentity, "birth">>;

/**
 * Returns the log that continues this one, as far as backups or checkpoints in the stores, or an index, show it. Then,
 * this log is an old copy: what was acknowledged since is not in it. A history with a transaction of this log in it, as
 * the chains show, is of this log or of one that continues it. Throws the errors of the stores.
 */
export async function findSuccessor(
  stores: readonly CheckpointStore[],
  { id, birth }: AskedLog,
  index?: FilledIndex,
  signal?: AbortSignal,
): Promise<Successor | undefined> {
  // A damaged backup shows nothing, but checkpoints may.
  const replacing = await unlessFailed(successorWithBackup(stores, id), UNUSABLE_SEGMENT, undefined);
  /** Whether the index is of a log that was in use later. No store may show that one yet. */
  const isLater = (time: number): boolean =>
    index !== undefined && index.state.log.id !== id && index.state.time > time;
  if (replacing !== undefined && !isLater(replacing.time)) return replacing;
  const { usable } = await listCandidates(stores, { signal });
  const known = index && (await historyOfIndex(index));
  const own = usable.filter(({ log }) => log.id === id);
  const isOwn = known?.log.id === id;
  const offset = birth?.offset ?? own[0]?.log.offset ?? (isOwn ? known.log.offset : Infinity);
  const values = [...own.flatMap(({ chains }) => chains), ...(isOwn ? known.chains : [])].filter(
    ({ txId }) => txId > offset,
  );
  const histories = new Set(values.map(textOf));
  const contains = async (value: ChainValue): Promise<boolean> =>
    value.txId > offset &&
    (histories.has(textOf(value)) || (isOwn && (await known.at(value.txId))?.history === value.history));
  let byIndex: Successor | undefined;
  for (const { txId, history } of known === undefined || isOwn ? [] : values) {
    if ((await known?.at(txId))?.history !== history) continue;
    byIndex = known && { id: known.log.id, holder: held("the local index", known.txId) };
    break;
  }
  if (replacing !== undefined) return byIndex ?? replacing;
  // Of several, the last one in use.
  for (const one of usable.toSorted((a, b) => Date.parse(b.txTime) - Date.parse(a.txTime))) {
    const { name, store, log, txId, txTime, chains } = one;
    if (byIndex !== undefined && isLater(Date.parse(txTime))) break;
    if (log.id === id || txId <= log.offset + 1) continue;
    for (const value of chains)
      if (await contains(value)) return { id: log.id, holder: held(`checkpoint ${name} in ${store}`, txId) };
  }
  return byIndex;
}

/** `time` is that of the last transaction in the backup, if it can be read. */
async function successorWithBackup(
  stores: readonly CheckpointStore[],
  logId: string,
): Promise<(Successor & { readonly time: number }) | undefined> {
  const id = successorOf(await readLineages(stores), logId) ?? (await replacedByPointer(stores, logId));
  const backup = id === undefined ? undefined : await furthestBackup(stores, id);
  if (id === undefined || backup === undefined || backup.last <= backup.offset + 1) return undefined;
  const { log, store, last, offset } = backup;
  const end = await unlessFailed(log.fetch(last - offset), UNUSABLE_SEGMENT, undefined);
  return { id, holder: held(`the log backup in ${store.location}`, last), time: end?.time ?? Infinity };
}

function textOf({ txId, history }: Pick<ChainValue, "txId" | "history">): string {
  return `${txId} ${history}`;
}

function held(what: string, txId: TxId): string {
  return `${what} holds transactions of that one up to ${txId}`;
}

/**
 * Returns `LOG_DIFFERENT` if a log has a {@link findSuccessor | successor}. A node that reads a backup finds by itself the
 * log that replaces it.
 */
export async function judgeOldCopy(
  { name, backup, hasOneWriter }: Pick<TxLog, "name" | "backup" | "hasOneWriter">,
  identity: AskedLog,
  stores: readonly CheckpointStore[],
  index?: FilledIndex,
  signal?: AbortSignal,
): Promise<CairnError | undefined> {
  if (backup !== undefined) return undefined;
  const successor = await findSuccessor(stores, identity, index, signal);
  if (successor === undefined) return undefined;
  const { id, holder } = successor;
  const removal =
    hasOneWriter === true
      ? "stop the node, move this log's folder away, and keep it"
      : `keep a copy of this one (nats stream backup ${name} DIR), remove it (nats stream rm ${name})`;
  return new CairnError(
    "LOG_DIFFERENT",
    `${oldCopyClause(name, identity.id)}: the log ${id} continues it, and ${holder}.`,
    `Put the log ${id} back, or correct the address if it is elsewhere, and restart the node. If it is lost, ${removal}, run cairn log recover --log ${id}, and restart the nodes. If the command is refused because of what was written to this copy, add --yes; cairn log orphans then prints what the nodes' indexes hold of that. To use this copy nevertheless, give its nodes a checkpoint store of their own, and restart them. Nothing was deleted.`,
  );
}

function oldCopyClause(name: string, id: string): string {
  return `The log "${name}" (${id}) is an old copy`;
}

/**
 * Returns what another node says that has failed because a log is an old copy: its index may be all that shows it. A node
 * that refuses the log only because of this does not count.
 */
export async function oldCopyByNodes(
  { name, peers }: Pick<TxLog, "name" | "peers">,
  id: string,
  options: AskOptions,
): Promise<CairnError | undefined> {
  if (peers === undefined) return undefined;
  for (const { node, status } of await askStatus(peers, options)) {
    if (status.failure?.code !== "LOG_DIFFERENT") continue;
    const { message, hint } = status.failure;
    if (!message.startsWith(oldCopyClause(name, id))) continue;
    const there = hint === null ? "" : `On the machine of node ${node}: ${hint}`;
    return new CairnError("LOG_DIFFERENT", `Node ${node} reports: ${message}`, there);
  }
  return undefined;
}
