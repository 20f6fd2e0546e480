import { isDeepStrictEqual } from "node:util";
import { isCairnError, type KvProvider, mayHoldRows, unlessFailed } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogHistory } from "../backup/log-with-backup.ts";
import type { IndexDirectory, MovedContents } from "../db-dir/index-directory.ts";
import type { HeldTransactions, QuarantinedIndex } from "../db-dir/quarantine.ts";
import { chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow, linkBefore } from "../index/chains/chain-window.ts";
import { readIndex, readPrefix } from "../index/local-index.ts";
import { FIRST_TX_ID, firstKept, type IndexState } from "../index/rows/index-state.ts";
import { readOutcome, readOutcomes } from "../index/rows/outcome-rows.ts";
import { anchorOf } from "../log/anchor.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import {
  commonWithIndex,
  type CommonHistory,
  commonWithLog,
  type FilledIndex,
  nothingCompared,
  sharedOf,
  type SharedTransactions,
} from "./common-history.ts";

/**
 * Returns the transactions of an index that is in quarantine, or is about to be moved there. The index may be the only
 * copy of transactions that the log has lost, has trimmed or never had, so it counts as one unless `newer`, an index that
 * agrees with the log, shows that the log's history contains all of its transactions. Without such an index, only
 * messages are compared, and `recorded` is what an earlier comparison showed.
 */
export async function movedContents(
  index: FilledIndex,
  log: LogHistory,
  identity: LogIdentity,
  newer?: FilledIndex,
  recorded: Partial<HeldTransactions> = {},
): Promise<MovedContents> {
  const { txId } = index.state;
  const comparedWith = identity.id;
  const byIndex =
    newer &&
    (await ifReadable(async () =>
      (await isContainedIn(index, newer)) ? "contained" : await commonWithIndex(index, newer),
    ));
  if (byIndex === "contained")
    return { holdsLost: false, held: { txId, shared: txId, comparedWith, isProven: true } };
  const found = await ifReadable(async () => {
    const one = byIndex ?? nothingCompared(index.state);
    const known = await sharedOf(index, one);
    if (known.isProven) return known;
    const other = await commonWithLog(index.kv, index.state, log, identity);
    const common = { same: Math.max(one.same, other.same), differs: Math.min(one.differs, other.differs) };
    return await withRecorded(index, common, recorded, identity);
  });
  if (found === undefined) return { holdsLost: true };
  return { holdsLost: true, held: { txId, shared: found.txId, comparedWith, isProven: found.isProven } };
}

/**
 * Compares all indexes in quarantine with `joined`, the index with which a node continues, and records the result with
 * them. The log may have got back transactions that it lacked when they were moved aside: because it was continued from a
 * checkpoint that has them, or because its server's data was restored. It may also have lost other ones since then.
 * Indexes that cannot be read keep what was recorded: if nothing was, they may hold transactions that the log lost, until
 * the log is seen to hold their last message.
 */
export async function reassessQuarantine(
  directory: IndexDirectory,
  provider: KvProvider,
  joined: FilledIndex,
  log: LogHistory,
  identity: LogIdentity,
): Promise<void> {
  for (const quarantined of await directory.readQuarantine()) {
    const { folder, live, holdsLost, held } = quarantined;
    // An index that this log was seen to contain is not needed: if the log loses its end, the index that shows it is
    // moved aside as well.
    const isProven = held.comparedWith === identity.id && held.isProven === true;
    if (!holdsLost && (held.txId === undefined || isProven)) continue;
    const reassess = async (): Promise<void> => {
      if (held.txId === undefined) {
        const contained = await containedByMessage(quarantined, provider, joined.state, log, identity);
        if (contained !== undefined) await directory.note(folder, contained);
        return;
      }
      await readIndex(provider, live, async ({ kv, state }) => {
        if (state === undefined) return;
        const contents = await movedContents({ kv, state }, log, identity, joined, held);
        if (contents.held === undefined) return;
        const renewed = { ...contents, held: { ...held, ...contents.held } };
        if (!isDeepStrictEqual(renewed, { holdsLost, held })) await directory.note(folder, renewed);
      });
    };
    // The index may be open elsewhere, and the log or a backup may be unreachable. Neither keeps the node from joining.
    await unlessFailed(reassess(), "any", undefined);
  }
}

/**
 * Judges an index that cannot be opened by the prefix in its state. The node follows the log from an index that agrees
 * with it, so if that index ends with the last message of the prefix, or the log holds this message, the log's history
 * contains the whole prefix. Undefined if nothing shows it.
 */
async function containedByMessage(
  { folder, live }: QuarantinedIndex,
  provider: KvProvider,
  joined: IndexState,
  log: LogHistory,
  identity: LogIdentity,
): Promise<MovedContents | undefined> {
  const prefix = await readPrefix(provider, live);
  // What the index has lost itself is not in quarantine.
  if (prefix === undefined) return (await mayHoldRows(folder)) ? undefined : { holdsLost: false };
  const { txId, sha256 } = prefix;
  const { id, offset } = prefix.log;
  const isInLog = async (): Promise<boolean> => {
    if (id !== identity.id)
      return (await log.earlier.wayFrom({ logId: id, txId, sha256 }, identity.birth)) !== undefined;
    const message = await log.fetch(txId - offset);
    return message !== undefined && anchorOf(message).sha256 === sha256;
  };
  const isEnd = joined.log.id === id && joined.txId === txId && joined.sha256 === sha256;
  if (txId > FIRST_TX_ID && !isEnd && !(await isInLog())) return undefined;
  return { holdsLost: false, held: { txId, shared: txId, comparedWith: identity.id, isProven: true } };
}

/**
 * Returns the transactions that count as common by an earlier comparison, needed where messages were trimmed since. It
 * counts only for the log that was compared, and only where nothing else is known.
 */
export async function withRecorded(
  index: FilledIndex,
  common: CommonHistory,
  { shared, comparedWith, isProven }: Partial<HeldTransactions>,
  { id }: Pick<LogIdentity, "id">,
): Promise<SharedTransactions> {
  const now = await sharedOf(index, common);
  if (now.isProven || shared === undefined || comparedWith !== id) return now;
  const txId = Math.max(common.same, Math.min(shared, now.txId));
  // Transactions whose outcomes were removed could not be compared then either.
  const kept = firstKept(index.state);
  const wasCompared = txId === shared && (kept === 0 || txId > kept);
  return { txId, isProven: wasCompared && (isProven ?? txId < now.txId) };
}

/**
 * Returns whether it is certain that the history in a newer index contains all transactions of `index`, whichever logs the
 * two were built from.
 *
 * The chains show it at the end of `index`, unless the newer index is far ahead: it then knows them only at the last
 * link before that end, and the outcomes of the transactions after that link, of which there are fewer than 1,024, are
 * compared instead.
 */
export async function isContainedIn(index: FilledIndex, newer: FilledIndex): Promise<boolean> {
  const { kv, state } = index;
  if (newer.state.txId < state.txId) return false;
  const [window, newerWindow] = [
    await ChainWindow.load(kv, state),
    await ChainWindow.load(newer.kv, newer.state),
  ];
  const historiesAt = async (txId: TxId): Promise<readonly (string | undefined)[]> => {
    const values = [await chainValueAt(kv, window, txId), await chainValueAt(newer.kv, newerWindow, txId)];
    return values.map((value) => value?.history);
  };
  const [end, newerEnd] = await historiesAt(state.txId);
  if (newerEnd !== undefined) return end === newerEnd;
  const link = linkBefore(state.txId);
  const [atLink, newerAtLink] = await historiesAt(link);
  if (atLink !== newerAtLink) return false;
  // The first one of a log is the same in all indexes of it.
  const isSameLog = state.log.id === newer.state.log.id && state.log.offset === newer.state.log.offset;
  const first = isSameLog ? state.log.offset : 0;
  // If there is no link yet, all outcomes are compared.
  if (atLink === undefined && link > first) return false;
  // Both must have the outcomes of all these transactions, and the same ones.
  let last = atLink === undefined ? first : link;
  for await (const outcomes of readOutcomes(kv, { after: last, upTo: state.txId })) {
    for (const { txId, outcome } of outcomes) {
      const isNext = txId === last + 1;
      if (!isNext || !isDeepStrictEqual(outcome, await readOutcome(newer.kv, txId))) return false;
      last = txId;
    }
  }
  return last === state.txId;
}

/** Returns the result of `reading`; undefined after an error that would recur, such as damage. Others are thrown. */
async function ifReadable<T>(reading: () => Promise<T>): Promise<T | undefined> {
  try {
    return await reading();
  } catch (error) {
    if (isCairnError(error) && error.code !== "LOG_UNREACHABLE") return undefined;
    throw error;
  }
}
