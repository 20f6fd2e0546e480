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
  const { txId, sha256, outcomesAfter = 0 } = state;
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
    return await compared(kv, earlier.log, { offset, first: earlier.first - offset, end, outcomesAfter });
  }
  const end = Math.min(txId, bounds.last + offset);
  return await compared(kv, log, { offset, first: bounds.first, end, outcomesAfter });
}

/**
 * Compares the transactions up to `end` with a log whose messages begin at the position `first`. Transactions whose
 * outcomes were removed cannot be compared, nor can the first one after them, whose time depends on the one before.
 */
async function compared(
  kv: KvReader,
  log: Pick<TxLog, "fetch">,
  {
    offset,
    first,
    end,
    outcomesAfter,
  }: {
    readonly offset: number;
    readonly first: number;
    readonly end: TxId;
    readonly outcomesAfter: TxId;
  },
): Promise<SharedTransactions> {
  const removed = outcomesAfter === 0 ? 0 : outcomesAfter + 1;
  // The birth record is common to both, because it contains the log's id.
  const low = Math.min(end, Math.max(Math.max(1, first - 1) + offset, removed));
  let isProven = first <= 1 && low > removed;
  const txId = await lastInCommon(low, end, async (upTo, after) => {
    const newest = await newestComparable(kv, log, offset, { after, upTo });
    if (newest === undefined || newest.differs) return newest?.txId;
    isProven = true;
    return undefined;
  });
  return { txId, isProven };
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
 * Compares the newest comparable transaction in a range with the log. Rows of aborted transactions and duplicates do not
 * identify their message. Returns undefined if no transaction is comparable.
 */
async function newestComparable(
  kv: KvReader,
  log: Pick<TxLog, "fetch">,
  offset: number,
  { after, upTo }: { readonly after: TxId; readonly upTo: TxId },
): Promise<{ readonly txId: TxId; readonly differs: boolean } | undefined> {
  for await (const outcomes of readOutcomes(kv, { after, upTo, reverse: true })) {
    for (const { txId, outcome } of outcomes) {
      if (outcome.kind !== "committed") continue;
      const message = await log.fetch(txId - offset);
      if (message !== undefined) return { txId, differs: !(await isOf(kv, txId, outcome, message)) };
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
