import type { KvProvider, KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { earlierLog, lastOfEarlier, type LogHistory } from "../backup/log-with-backup.ts";
import { firstKept, type IndexState } from "../index/rows/index-state.ts";
import { readOutcome } from "../index/rows/outcome-rows.ts";
import type { Outcome } from "../index/rows/row-values.ts";
import { chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow } from "../index/chains/chain-window.ts";
import { compareChains } from "../index/chains/compare-chains.ts";
import { fileReader, openIndex } from "../index/local-index.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { LogMessage, TxLog } from "../log/tx-log.ts";
import type { CopiedIndex, PastPlan } from "../replay/past-plan.ts";
import { continuesAt } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import {
  type CommonHistory,
  type FilledIndex,
  newestOutcome,
  nothingCompared,
  searchCommon,
} from "./common-history.ts";

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
    return await compared({ kv, state }, log, { first: bounds.first, differs });
  }
  if (continuesAt(birth, { logId, txId, sha256 })) return { same: txId, differs: txId + 1 };
  // A log that continues no other one has nothing in common with it.
  if (birth !== undefined && birth.continues === undefined) return { same: 0, differs: 1 };
  const last = await lastOfEarlier(log, identity, logId);
  if (last === undefined) return nothingCompared(state);
  // An index that ends where the log was continued, but with another message, differs there at the latest.
  const isOtherEnd = birth?.continues?.log === logId && txId === last;
  const differs = isOtherEnd ? txId : Math.min(txId, last) + 1;
  const earlier = await earlierLog(log, identity, logId);
  if (earlier === undefined) return { same: 0, differs };
  return await compared({ kv, state }, earlier.log, { first: earlier.first - offset, differs });
}

/**
 * Returns whether an index that reaches further than a plan contains another history than the one that the plan leads
 * to, as far as the log backup or the checkpoint of the plan shows it.
 */
export async function contradictsPlan(
  { dir, state }: CopiedIndex,
  { checkpoint, history, txId }: PastPlan,
  provider: KvProvider,
): Promise<boolean> {
  const { kv } = await openIndex(fileReader(provider), dir);
  try {
    const identity = history && (await readLogIdentity(history));
    if (history !== undefined && identity !== undefined)
      return (await commonWithLog(kv, state, history, identity)).differs <= txId;
    const window = await ChainWindow.load(kv, state);
    const own = async (at: TxId) => await chainValueAt(kv, window, at);
    return (await compareChains(own, checkpoint?.chains ?? [], false)) !== undefined;
  } finally {
    await kv.close();
  }
}

/**
 * Compares the transactions before `differs` with a log whose messages begin at `first`. Those with removed outcomes
 * cannot be compared, nor can the first one after them, whose time depends on the one before.
 */
async function compared(
  { kv, state }: FilledIndex,
  log: Pick<TxLog, "fetch">,
  { first, differs }: { readonly first: number; readonly differs: TxId },
): Promise<CommonHistory> {
  const { offset } = state.log;
  const end = differs - 1;
  const low = Math.min(end, Math.max(Math.max(1, first - 1) + offset, firstKept(state)));
  // The birth record is common to both, because it contains the log's id.
  const same = first <= 1 ? Math.min(end, offset + 1) : 0;
  const newest = newestOutcome(kv, async (id, outcome) => {
    const message = await log.fetch(id - offset);
    return message === undefined ? undefined : await isOf(kv, id, outcome, message);
  });
  return await searchCommon({ same, differs }, low, newest);
}

/** Returns whether the outcome of a committed transaction was derived from this message. */
async function isOf(
  kv: KvReader,
  txId: TxId,
  { time, text }: Outcome,
  message: LogMessage,
): Promise<boolean> {
  const decoded = decodeMessage(message.payload);
  if (decoded.kind !== "transaction" || Buffer.from(decoded.header).toString("utf8") !== text) return false;
  const before = await readOutcome(kv, txId - 1);
  return time === Math.max(message.time, before?.time ?? 0);
}
