import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { ValidTransaction } from "../transactions/validate-transaction.ts";
import { decodeMessage, encodeBarrier, encodeTransaction } from "../transactions/transaction-codec.ts";
import { contentHash, logTagOf } from "../transactions/message-frame.ts";
import type { TxLog } from "./tx-log.ts";
import { inTime, LATE } from "../concurrency/in-time.ts";
import { TimeLimit } from "../concurrency/time-limit.ts";

/**
 * Appends a transaction to the log; answers its id once the log has it. Calls made one after another without waiting are stored
 * in their order. Errors: `TX_INVALID`, `TX_TOO_LARGE` (both before anything is sent), `CONFLICT` (the id was used for another
 * content), `LOG_UNREACHABLE`, `LOG_FULL`; `LOG_REGRESSED` when the log stored it at or before `known`, the last transaction that was
 * read from it before: this is not the history that the caller knows, and an id out of another one must not be awaited in it. `timeoutMs`
 * is handed on to the log (see {@link TxLog.append}).
 */
export async function submitTransaction(
  log: TxLog,
  { id: logId, offset }: { readonly id: string; readonly offset: number },
  transaction: ValidTransaction,
  known: TxId = 0,
  timeoutMs?: number,
): Promise<{ txId: TxId }> {
  const payload = encodeTransaction(transaction, logId);
  if (payload.length > log.maxPayload) {
    throw new CairnError(
      "TX_TOO_LARGE",
      `The transaction has ${payload.length} bytes, the log "${log.name}" takes at most ${log.maxPayload}.`,
      { hint: "Split it into several transactions." },
    );
  }
  const limit = timeoutMs === undefined ? {} : { timeoutMs };
  const messageId = transaction.id === undefined ? {} : { messageId: transaction.id };
  let appended = await log.append(payload, { ...messageId, ...limit });
  if (appended.duplicate) {
    const { position } = appended;
    const first = await judgeFirst(log, position, payload, { logId, id: transaction.id });
    if (first === "same") return { txId: position + offset };
    if (first === "other content") throw sameId(position + offset);
    // The log took its message for this one, by an id that anybody may give a message: what counts is the id in the message itself, which
    // the index remembers, so that nothing is applied twice.
    appended = await log.append(payload, limit);
  }
  return storedAfter(known, log, appended.position, offset);
}

/**
 * Appends a barrier: a transaction without operations. Whatever any node acknowledged before the call has a smaller id, since the log
 * gave this message its position afterwards. Errors as for {@link submitTransaction}.
 */
export async function submitBarrier(
  log: TxLog,
  { id: logId, offset }: { readonly id: string; readonly offset: number },
  known: TxId,
  timeoutMs: number,
): Promise<{ txId: TxId }> {
  const { position } = await log.append(encodeBarrier(logId), { timeoutMs });
  return storedAfter(known, log, position, offset);
}

function storedAfter(known: TxId, log: TxLog, position: number, offset: number): { txId: TxId } {
  if (position + offset <= known) throw takenBefore(log.name, position);
  return { txId: position + offset };
}

function takenBefore(logName: string, position: number): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    `The log "${logName}" stored the transaction as message ${position}, but another message ${position} was read from it before.`,
    {
      hint: "The log lost its end or was replaced, and the transaction is part of what it holds now. Look at the node (cairn status, GET /status), then decide.",
    },
  );
}

/** What the message is that the log has under the same message id: the log compares ids only. */
async function judgeFirst(
  log: TxLog,
  position: number,
  payload: Uint8Array,
  { logId, id }: { readonly logId: string; readonly id: string | undefined },
): Promise<"same" | "other content" | "not of this id"> {
  const first = await log.fetch(position);
  // Trimmed meanwhile: what the index remembers of the id decides.
  if (first === undefined) return "not of this id";
  const decoded = decodeMessage(first.payload);
  const isOfId = decoded.kind === "transaction" && decoded.logTag === logTagOf(logId) && decoded.id === id;
  if (!isOfId) return "not of this id";
  return contentHash(first.payload).equals(contentHash(payload)) ? "same" : "other content";
}

function sameId(txId: TxId): CairnError {
  return new CairnError("CONFLICT", `Transaction ${txId} has the same id and another content.`, {
    hint: "An id stands for one transaction: choose a new one for another content.",
  });
}

/**
 * The log's answer for a transaction that was appended to it, or `TX_TIMEOUT` after `timeoutMs`. After a timeout the outcome is unknown:
 * the log may have stored the transaction without answering, or may store it later.
 */
export async function storedInTime<T>(stored: Promise<T>, timeoutMs: number): Promise<T> {
  const limit = new TimeLimit(timeoutMs);
  let answer: T | typeof LATE;
  try {
    answer = await inTime(stored, timeoutMs);
  } catch (error) {
    // A log that was given the same deadline reports the same timeout with a code of its own.
    if (limit.leftMs > 0 || !isCairnError(error, "LOG_UNREACHABLE")) throw error;
    throw notStoredInTime(timeoutMs, error);
  }
  if (answer !== LATE) return answer;
  throw notStoredInTime(timeoutMs, undefined);
}

function notStoredInTime(timeoutMs: number, cause: unknown): CairnError {
  return new CairnError("TX_TIMEOUT", `The log did not answer for the transaction within ${timeoutMs} ms.`, {
    hint: "It may or may not be stored. With an id of its own it can be sent again: it is applied once. Without one, check whether its writes are there before you send it again.",
    cause,
  });
}
