import { isDeepStrictEqual } from "node:util";
import { isCairnError, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogHistory } from "../backup/log-with-backup.ts";
import type { MovedContents } from "../db-dir/index-directory.ts";
import type { HeldTransactions } from "../db-dir/quarantine.ts";
import { chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow, linkBefore } from "../index/chains/chain-window.ts";
import type { OpenedIndex } from "../index/local-index.ts";
import { readOutcome, readOutcomes } from "../index/rows/outcome-rows.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { type FilledIndex, lastShared, lastSharedWith } from "./last-shared.ts";

/**
 * Returns the transactions of an index that is about to be moved aside. The index may be the only copy of transactions
 * that the log has lost, has trimmed or never had, so it counts as one unless `newer`, an index that agrees with the log
 * and replaces it, shows that the log's history contains all of its transactions.
 */
export async function movedContents(
  index: FilledIndex,
  log: LogHistory,
  identity: LogIdentity,
  newer?: OpenedIndex,
): Promise<MovedContents> {
  const held = await heldTransactions(index, log, identity);
  if (held === undefined) return { holdsLost: true };
  if (newer?.state === undefined) return { holdsLost: true, held };
  const other = { kv: newer.kv, state: newer.state };
  const compared = await ifReadable(async () =>
    (await isContainedIn(index, other))
      ? { holdsLost: held.shared !== held.txId, held }
      : { holdsLost: true, held: { ...held, shared: await leastShared(held, index, other) } },
  );
  return compared ?? { holdsLost: true, held };
}

/**
 * Returns the range of transactions in an index. Undefined if the index or the log cannot be read, which does not keep a
 * node from joining.
 */
async function heldTransactions(
  { kv, state }: FilledIndex,
  log: LogHistory,
  identity: LogIdentity,
): Promise<HeldTransactions | undefined> {
  return await ifReadable(async () => ({
    txId: state.txId,
    shared: (await lastShared(kv, state, log, identity))?.txId,
  }));
}

/** Where the log was trimmed, only the newer index shows that the two histories diverge before the index's end. */
async function leastShared(
  { shared }: HeldTransactions,
  index: FilledIndex,
  newer: FilledIndex,
): Promise<TxId | undefined> {
  if (shared === undefined || index.state.log.id !== newer.state.log.id) return shared;
  return Math.min(shared, await lastSharedWith(index, newer));
}

/**
 * Returns whether it is certain that the history of a newer index of the same log contains all transactions of `index`.
 *
 * The chains show it at the end of `index`, unless the newer index is far ahead: it then knows them only at the last
 * link before that end, and the outcomes of the transactions after that link, of which there are fewer than 1,024, are
 * compared instead.
 */
export async function isContainedIn(index: FilledIndex, newer: FilledIndex): Promise<boolean> {
  const { kv, state } = index;
  const { id, offset } = state.log;
  if (newer.state.log.id !== id || newer.state.log.offset !== offset) return false;
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
  // If there is no link yet, the first transaction is that of the log, whose id both indexes have in common.
  if (atLink === undefined && link > offset) return false;
  const after = atLink === undefined ? offset : link;
  return await haveSameOutcomes(kv, newer.kv, { after, upTo: state.txId });
}

/** Returns whether both indexes have the outcomes of all these transactions, and the same ones. */
async function haveSameOutcomes(
  kv: KvReader,
  other: KvReader,
  { after, upTo }: { readonly after: TxId; readonly upTo: TxId },
): Promise<boolean> {
  let last = after;
  for await (const outcomes of readOutcomes(kv, { after, upTo })) {
    for (const { txId, outcome } of outcomes) {
      const isNext = txId === last + 1;
      if (!isNext || !isDeepStrictEqual(outcome, await readOutcome(other, txId))) return false;
      last = txId;
    }
  }
  return last === upTo;
}

/**
 * Returns the result of `reading`; undefined after an error that a repetition would not resolve, such as damage. A log
 * that does not respond may respond later, so that error is thrown.
 */
async function ifReadable<T>(reading: () => Promise<T>): Promise<T | undefined> {
  try {
    return await reading();
  } catch (error) {
    if (isCairnError(error) && error.code !== "LOG_UNREACHABLE") return undefined;
    throw error;
  }
}
