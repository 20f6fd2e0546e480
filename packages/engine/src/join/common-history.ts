import { isDeepStrictEqual } from "node:util";
import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow, linkBefore } from "../index/chains/chain-window.ts";
import { firstKept, type IndexState } from "../index/rows/index-state.ts";
import { readOutcome, readOutcomes } from "../index/rows/outcome-rows.ts";
import type { Outcome } from "../index/rows/row-values.ts";
import { lastInCommon } from "../log/last-in-common.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { continuesAt } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";

export interface FilledIndex {
  readonly kv: KvReader;
  readonly state: IndexState;
}

/**
 * What comparisons have shown about the transactions that an index has in common with another history. Ids of logs and
 * positions prove nothing here, because the same log may lose its end and get it back, and a log may continue another
 * one that had lost its end at an earlier time. It is unknown whether the transactions between `same` and `differs` are
 * in the other history.
 */
export interface CommonHistory {
  /** The other history is known to contain all transactions up to this one. It is 0 if none is known. */
  readonly same: TxId;
  /** The first transaction known not to be in the other history; by default the one after the index's last. */
  readonly differs: TxId;
}

/** The transactions that an index and a log have in common: all up to `txId`. */
export interface SharedTransactions {
  readonly txId: TxId;
  /** True if comparisons show it. Otherwise, transactions that could not be compared count as common. */
  readonly isProven: boolean;
}

export function nothingCompared({ txId }: Pick<IndexState, "txId">): CommonHistory {
  return { same: 0, differs: txId + 1 };
}

export async function sharedOf(
  { kv, state }: FilledIndex,
  { same, differs }: CommonHistory,
): Promise<SharedTransactions> {
  const txId = differs - 1;
  if (same >= txId) return { txId, isProven: true };
  if (firstKept(state) > same + 1) return { txId, isProven: false };
  // Only committed transactions can be compared, and need to be.
  for await (const outcomes of readOutcomes(kv, { after: same, upTo: txId, reverse: true }))
    if (outcomes.some(({ outcome }) => outcome.kind === "committed")) return { txId, isProven: false };
  return { txId, isProven: true };
}

/** Compares the newest comparable transaction after `after` and up to `upTo`; undefined if there is none. */
type CompareNewest = (
  upTo: TxId,
  after: TxId,
) => Promise<{ readonly txId: TxId; readonly differs: boolean } | undefined>;

/** Finds out up to where two histories are the same, if everything up to `low` is, or cannot be compared. */
async function searchCommon(
  { same, differs }: CommonHistory,
  low: TxId,
  newest: CompareNewest,
): Promise<CommonHistory> {
  let [known, end] = [same, differs];
  await lastInCommon(low, differs - 1, async (upTo, after) => {
    const found = await newest(upTo, after);
    if (found?.differs === true) {
      end = found.txId;
      return end;
    }
    if (found !== undefined) known = Math.max(known, found.txId);
    return undefined;
  });
  return { same: known, differs: end };
}

/**
 * Compares the newest comparable transaction in a range; aborted ones and duplicates do not identify their message.
 * `hasSame` returns whether the other history has the transaction with this outcome; undefined if unknown.
 */
function newestOutcome(
  kv: KvReader,
  hasSame: (txId: TxId, outcome: Outcome) => Promise<boolean | undefined>,
): CompareNewest {
  return async (upTo, after) => {
    for await (const outcomes of readOutcomes(kv, { after, upTo, reverse: true })) {
      for (const { txId, outcome } of outcomes) {
        if (outcome.kind !== "committed") continue;
        const isSame = await hasSame(txId, outcome);
        if (isSame !== undefined) return { txId, differs: !isSame };
      }
    }
    return undefined;
  };
}

/**
 * Returns what an index has in common with another index's history, by chains where both know them, else by outcomes.
 */
export async function commonWithIndex(index: FilledIndex, other: FilledIndex): Promise<CommonHistory> {
  const [ours, theirs] = [index.state.log, other.state.log];
  // Neither log continues another one.
  if (ours.id !== theirs.id && ours.offset === 0 && theirs.offset === 0) return { same: 0, differs: 1 };
  const [window, otherWindow] = [
    await ChainWindow.load(index.kv, index.state),
    await ChainWindow.load(other.kv, other.state),
  ];
  const chains: CompareNewest = async (upTo, after) => {
    for (const txId of [upTo, linkBefore(upTo)]) {
      if (txId <= after) return undefined;
      const value = await chainValueAt(index.kv, window, txId);
      const otherValue = value && (await chainValueAt(other.kv, otherWindow, txId));
      if (value !== undefined && otherValue !== undefined)
        return { txId, differs: value.history !== otherValue.history };
    }
    return undefined;
  };
  const outcomes = newestOutcome(index.kv, async (txId, outcome) => {
    const found = await readOutcome(other.kv, txId);
    return found === undefined ? undefined : isDeepStrictEqual(found, outcome);
  });
  const end = Math.min(index.state.txId, other.state.txId);
  const { same, differs } = await searchCommon({ same: 0, differs: end + 1 }, 0, async (upTo, after) => {
    const byChain = await chains(upTo, after);
    return (byChain?.txId === upTo ? undefined : await outcomes(upTo, byChain?.txId ?? after)) ?? byChain;
  });
  // The other index may merely end earlier.
  return { same, differs: differs > end ? index.state.txId + 1 : differs };
}

/** Returns what the messages of the log, its backup and earlier logs show about what an index and the log share. */
export async function commonWithLog(
  kv: KvReader,
  state: IndexState,
  log: Pick<LogHistory, "fetch" | "earlier">,
  identity: LogIdentity,
): Promise<CommonHistory> {
  const { id, birth, bounds } = identity;
  const { txId, sha256 } = state;
  const { id: logId, offset } = state.log;
  if (logId === id) {
    const differs = Math.min(txId, bounds.last + offset) + 1;
    return await compared({ kv, state }, { log, offset, first: bounds.first }, differs);
  }
  if (continuesAt(birth, { logId, txId, sha256 })) return { same: txId, differs: txId + 1 };
  // A log that continues no other one has nothing in common with it.
  if (birth !== undefined && birth.continues === undefined) return { same: 0, differs: 1 };
  const end = await log.earlier.endInCommon(logId, birth);
  if (end === undefined) return nothingCompared(state);
  const { last } = end;
  // An index that ends where the log was continued, but with another message, differs there at the latest.
  const isOtherEnd = birth?.continues?.log === logId && txId === last;
  const differs = isOtherEnd ? txId : Math.min(txId, last) + 1;
  const earlier = await log.earlier.find(end.logId, birth);
  if (earlier === undefined) return { same: 0, differs };
  const first = earlier.first - earlier.offset;
  return await compared({ kv, state }, { ...earlier, first }, differs);
}

/**
 * Compares the transactions before `differs` with a log whose messages begin at `first`. Those with removed outcomes
 * cannot be compared, nor can the first one after them, whose time depends on the one before.
 */
async function compared(
  { kv, state }: FilledIndex,
  {
    log,
    offset,
    first,
  }: { readonly log: Pick<TxLog, "fetch">; readonly offset: number; readonly first: number },
  differs: TxId,
): Promise<CommonHistory> {
  const end = differs - 1;
  const low = Math.min(end, Math.max(Math.max(1, first - 1) + offset, firstKept(state)));
  // The birth record is common to both, because it contains the log's id.
  const same = first <= 1 ? Math.min(end, offset + 1) : 0;
  const newest = newestOutcome(kv, async (id, outcome) => {
    const message = await log.fetch(id - offset);
    if (message === undefined) return undefined;
    const decoded = decodeMessage(message.payload);
    if (decoded.kind !== "transaction" || Buffer.from(decoded.header).toString("utf8") !== outcome.text)
      return false;
    const before = await readOutcome(kv, id - 1);
    return outcome.time === Math.max(message.time, before?.time ?? 0);
  });
  return await searchCommon({ same, differs }, low, newest);
}
