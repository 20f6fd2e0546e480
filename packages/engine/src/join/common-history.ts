import { isDeepStrictEqual } from "node:util";
import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow, linkBefore } from "../index/chains/chain-window.ts";
import { firstKept, type IndexState } from "../index/rows/index-state.ts";
import { readOutcome, readOutcomes } from "../index/rows/outcome-rows.ts";
import type { Outcome } from "../index/rows/row-values.ts";
import { lastInCommon } from "../log/last-in-common.ts";

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

/** What is known before anything has been compared. */
export function nothingCompared({ txId }: Pick<IndexState, "txId">): CommonHistory {
  return { same: 0, differs: txId + 1 };
}

/** Returns what two comparisons of an index with the same history have shown together. */
export function bothKnown(one: CommonHistory, other: CommonHistory): CommonHistory {
  return { same: Math.max(one.same, other.same), differs: Math.min(one.differs, other.differs) };
}

/** Returns the transactions that count as common. */
export async function sharedOf(
  { kv, state }: FilledIndex,
  { same, differs }: CommonHistory,
): Promise<SharedTransactions> {
  const txId = differs - 1;
  return { txId, isProven: same >= txId || (await isWithoutEffect(kv, state, { after: same, upTo: txId })) };
}

/** Returns whether none of these transactions was committed. Such transactions cannot be compared, and need not be. */
async function isWithoutEffect(
  kv: KvReader,
  state: IndexState,
  { after, upTo }: { readonly after: TxId; readonly upTo: TxId },
): Promise<boolean> {
  if (firstKept(state) > after + 1) return false;
  for await (const outcomes of readOutcomes(kv, { after, upTo, reverse: true })) {
    if (outcomes.some(({ outcome }) => outcome.kind === "committed")) return false;
  }
  return true;
}

/** Returns whether another history has the transaction with this outcome in an index; undefined if unknown. */
export type HasSame = (txId: TxId, outcome: Outcome) => Promise<boolean | undefined>;

/** Compares the newest comparable transaction after `after` and up to `upTo`; undefined if there is none. */
export type CompareNewest = (
  upTo: TxId,
  after: TxId,
) => Promise<{ readonly txId: TxId; readonly differs: boolean } | undefined>;

/** Finds out up to where two histories are the same, if everything up to `low` is, or cannot be compared. */
export async function searchCommon(
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

/** Compares the newest comparable transaction in a range; aborted ones and duplicates do not identify their message. */
export function newestOutcome(kv: KvReader, hasSame: HasSame): CompareNewest {
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
  const [window, otherWindow] = [
    await ChainWindow.load(index.kv, index.state),
    await ChainWindow.load(other.kv, other.state),
  ];
  const chains: CompareNewest = async (upTo, after) => {
    for (const txId of [upTo, linkBefore(upTo)]) {
      if (txId <= after) return undefined;
      const ours = await chainValueAt(index.kv, window, txId);
      const theirs = ours && (await chainValueAt(other.kv, otherWindow, txId));
      if (ours !== undefined && theirs !== undefined)
        return { txId, differs: ours.history !== theirs.history };
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
