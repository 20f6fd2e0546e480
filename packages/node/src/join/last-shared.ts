import { isCairnError, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { earlierLog, lastOfEarlier, type LogHistory } from "../backup/log-with-backup.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { readOutcome, readOutcomes } from "../index/rows/outcome-rows.ts";
import type { Outcome } from "../index/rows/row-values.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { HeldTransactions } from "../db-dir/quarantine.ts";
import { lastInCommon } from "../log/last-in-common.ts";
import { continuesAt } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import type { LogMessage, TxLog } from "../log/tx-log.ts";

/** The transactions that an index and the log have in common: all up to `txId`. */
export interface SharedTransactions {
  readonly txId: TxId;
  /** True if a message that both contain shows it. Otherwise, transactions without a message count as common. */
  readonly isProven: boolean;
}

/**
 * Returns the transactions that an index and the log have in common. Later transactions of the index are orphans.
 * Undefined if that cannot be determined, because the log is not the index's own log and does not continue that log.
 * Transactions that neither the log nor a backup holds count as common.
 */
export async function lastShared(
  kv: KvReader,
  state: IndexState,
  log: Pick<LogHistory, "fetch" | "earlier">,
  identity: LogIdentity,
): Promise<SharedTransactions | undefined> {
  const { id, birth, bounds } = identity;
  const { txId, sha256 } = state;
  const { id: logId, offset } = state.log;
  if (logId !== id) {
    if (continuesAt(birth, { logId, txId, sha256 })) return { txId, isProven: true };
    const last = await lastOfEarlier(log, identity, logId);
    // An index that ends at that transaction with a different message diverged from the other log at an unknown,
    // earlier point.
    if (last === undefined || txId === last) return undefined;
    const end = Math.min(txId, last);
    const earlier = await earlierLog(log, identity, logId);
    if (earlier === undefined) return { txId: end, isProven: false };
    return await compared(kv, earlier.log, { offset, first: earlier.first - offset, end });
  }
  return await compared(kv, log, { offset, first: bounds.first, end: Math.min(txId, bounds.last + offset) });
}

/** Compares the transactions up to `end` with a log whose messages begin at the position `first`. */
async function compared(
  kv: KvReader,
  log: Pick<TxLog, "fetch">,
  { offset, first, end }: { readonly offset: number; readonly first: number; readonly end: TxId },
): Promise<SharedTransactions> {
  // The birth record is common to both, because it contains the log's id.
  const low = Math.min(end, Math.max(1, first - 1) + offset);
  const txId = await lastInCommon(low, end, (upTo, after) =>
    newestDifference(kv, log, offset, { after, upTo }),
  );
  return { txId, isProven: first <= 1 || txId > low };
}

/**
 * Returns the range of transactions in an index that is about to be moved aside. Undefined if the index or the log
 * cannot be read, which does not keep a node from joining.
 */
export async function heldTransactions(
  kv: KvReader,
  state: IndexState,
  log: LogHistory,
  identity: LogIdentity,
): Promise<HeldTransactions | undefined> {
  try {
    return { txId: state.txId, shared: (await lastShared(kv, state, log, identity))?.txId };
  } catch (error) {
    if (isCairnError(error) && error.code !== "LOG_UNREACHABLE") return undefined;
    throw error;
  }
}

/**
 * Compares the newest comparable transaction in a range with the log, and returns its id if the two differ. Rows of
 * aborted transactions and duplicates do not identify their message.
 */
async function newestDifference(
  kv: KvReader,
  log: Pick<TxLog, "fetch">,
  offset: number,
  { after, upTo }: { readonly after: TxId; readonly upTo: TxId },
): Promise<TxId | undefined> {
  for await (const outcomes of readOutcomes(kv, { after, upTo, reverse: true })) {
    for (const { txId, outcome } of outcomes) {
      if (outcome.kind !== "committed") continue;
      const message = await log.fetch(txId - offset);
      if (message !== undefined) return (await isOf(kv, txId, outcome, message)) ? undefined : txId;
    }
  }
  return undefined;
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
