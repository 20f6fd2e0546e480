import { isDeepStrictEqual } from "node:util";
import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { earlierLog, lastOfEarlier, type LogHistory } from "../backup/log-with-backup.ts";
import { firstKept, type IndexState } from "../index/rows/index-state.ts";
import { readOutcome, readOutcomes } from "../index/rows/outcome-rows.ts";
import type { Outcome } from "../index/rows/row-values.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { lastInCommon } from "../log/last-in-common.ts";
import { continuesAt } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import type { LogMessage, TxLog } from "../log/tx-log.ts";

/** An index with a state. */
export interface FilledIndex {
  readonly kv: KvReader;
  readonly state: IndexState;
}

/**
 * Returns whether another history has the same transaction as an index, given its outcome in the index; undefined if
 * that cannot be determined.
 */
type HasSame = (txId: TxId, outcome: Outcome) => Promise<boolean | undefined>;

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
    return await compared({ kv, state }, earlier.log, { first: earlier.first - offset, end });
  }
  const end = Math.min(txId, bounds.last + offset);
  return await compared({ kv, state }, log, { first: bounds.first, end });
}

/**
 * Compares the transactions up to `end` with a log whose messages begin at the position `first`. Transactions whose
 * outcomes were removed cannot be compared, nor can the first one after them, whose time depends on the one before.
 */
async function compared(
  { kv, state }: FilledIndex,
  log: Pick<TxLog, "fetch">,
  { first, end }: { readonly first: number; readonly end: TxId },
): Promise<SharedTransactions> {
  const { offset } = state.log;
  const kept = firstKept(state);
  // The birth record is common to both, because it contains the log's id.
  const low = Math.min(end, Math.max(Math.max(1, first - 1) + offset, kept));
  let isProven = first <= 1 && low > kept;
  const hasSame: HasSame = async (id, outcome) => {
    const message = await log.fetch(id - offset);
    return message === undefined ? undefined : await isOf(kv, id, outcome, message);
  };
  const txId = await lastInCommon(low, end, async (upTo, after) => {
    const newest = await newestComparable(kv, hasSame, { after, upTo });
    if (newest === undefined || newest.differs) return newest?.txId;
    isProven = true;
    return undefined;
  });
  return { txId, isProven };
}

/**
 * Returns the last transaction that an index and a newer index of the same log have in common, like {@link lastShared}.
 * Transactions whose outcomes were removed from either count as common.
 */
export async function lastSharedWith({ kv, state }: FilledIndex, newer: FilledIndex): Promise<TxId> {
  const end = Math.min(state.txId, newer.state.txId);
  const low = Math.min(end, Math.max(state.log.offset + 1, firstKept(state), firstKept(newer.state)));
  const hasSame: HasSame = async (id, outcome) => {
    const other = await readOutcome(newer.kv, id);
    return other === undefined ? undefined : isDeepStrictEqual(other, outcome);
  };
  return await lastInCommon(low, end, async (upTo, after) => {
    const newest = await newestComparable(kv, hasSame, { after, upTo });
    return newest?.differs === true ? newest.txId : undefined;
  });
}

/**
 * Compares the newest comparable transaction in a range with another history. Rows of aborted transactions and
 * duplicates do not identify their message. Returns undefined if no transaction is comparable.
 */
async function newestComparable(
  kv: KvReader,
  hasSame: HasSame,
  { after, upTo }: { readonly after: TxId; readonly upTo: TxId },
): Promise<{ readonly txId: TxId; readonly differs: boolean } | undefined> {
  for await (const outcomes of readOutcomes(kv, { after, upTo, reverse: true })) {
    for (const { txId, outcome } of outcomes) {
      if (outcome.kind !== "committed") continue;
      const isSame = await hasSame(txId, outcome);
      if (isSame !== undefined) return { txId, differs: !isSame };
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
