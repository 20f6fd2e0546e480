import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { ValidTransaction } from "../transactions/validate-transaction.ts";
import { decodeMessage, encodeBarrier, encodeTransaction } from "../transactions/transaction-codec.ts";
import { contentHash, logTagOf, messageChecksum } from "../transactions/message-frame.ts";
import type { TxLog } from "./tx-log.ts";
import { Deadline, TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";

export interface SubmittedTransaction {
  readonly txId: TxId;
  /** The CRC-32 of the message: a log that has lost this message may give its id to another one. */
  readonly checksum: number;
}

/** The transaction to which an idempotency id belongs, and the hash of its content ({@link contentHash}). */
export interface IdOwner {
  readonly txId: TxId;
  readonly contentHash: Uint8Array;
}

/** What the end of an entry has beside its document, at most: its name, twice, the message of an error, and fields. */
const END_BYTES = 16 * 1024;

/** What a node knows when it submits a transaction. */
export interface Submitter {
  /** The last transaction read from the log. */
  readonly known: TxId;
  readonly timeoutMs: number;
  /** The maximum size of a request to the nodes (bytes). */
  readonly maxBody: number;
  /** Recorded in the message as its writer. */
  readonly by: string | undefined;
  /** Returns the owner of an id once the index contains a transaction; undefined if there is none, or not in time. */
  ownerOf(id: string, indexed: TxId): Promise<IdOwner | undefined>;
}

/**
 * Appends a transaction to the log and returns its id once the log has stored it. Transactions are stored in the order
 * of the calls, even if the calls are concurrent. Throws `TX_TOO_LARGE` before anything is sent, `CONFLICT` if the id
 * was used for other content, `LOG_UNREACHABLE` or `LOG_FULL`. Throws `LOG_REGRESSED` if the log stored the transaction
 * at or before the last one read from it. The log then has a different history, so the caller must not wait for the id in
 * the history that it knows.
 */
export async function submitTransaction(
  log: TxLog,
  { id: logId, offset }: { readonly id: string; readonly offset: number },
  transaction: ValidTransaction,
  { known, timeoutMs, maxBody, by, ownerOf }: Submitter,
): Promise<SubmittedTransaction> {
  const payload = encodeTransaction(transaction, logId, undefined, by);
  checkEntries(transaction, payload.length, Math.min(maxBody, log.maxPayload));
  if (payload.length > log.maxPayload) {
    throw new CairnError(
      "TX_TOO_LARGE",
      `The transaction has ${payload.length} bytes, but the log "${log.name}" accepts at most ${log.maxPayload}.`,
      { hint: "Split the transaction into several smaller ones." },
    );
  }
  const { id } = transaction;
  const messageId = id === undefined ? {} : { messageId: id };
  let appended = await log.append(payload, { ...messageId, timeoutMs });
  if (appended.duplicate && id !== undefined) {
    const txId = appended.position + offset;
    const first = await log.fetch(appended.position);
    if (first !== undefined && isRepetition(first.payload, payload, { logId, id }))
      return { txId, checksum: messageChecksum(first.payload) };
    // The log remembers ids for minutes, and any client can set them, so its message may be one to which the id does not
    // belong: the index decides, which also applies nothing twice.
    const owner = await ownerOf(id, txId);
    if (owner !== undefined && !contentHash(payload).equals(owner.contentHash)) {
      throw new CairnError("CONFLICT", `Transaction ${owner.txId} has the same id but different content.`, {
        hint: "Choose a new id for different content, because an id identifies one transaction.",
      });
    }
    appended = await log.append(payload, { timeoutMs });
  }
  const { txId } = storedAfter(known, log, appended.position, offset);
  return { txId, checksum: messageChecksum(payload) };
}

/**
 * Throws `TX_TOO_LARGE` if a director could not write the end of an enqueued entry: that transaction contains the whole
 * entry again, with what its handler says, and it, too, must be at most `limit` bytes.
 */
function checkEntries({ ops }: ValidTransaction, bytes: number, limit: number): void {
  const max = limit - Math.min(END_BYTES, Math.floor(limit / 2));
  // Few transactions are large enough to contain such an entry.
  if (bytes <= max) return;
  for (const [op, queue, name, document] of ops) {
    if (op !== "enqueue") continue;
    const size = Buffer.byteLength(JSON.stringify(document));
    if (size <= max) continue;
    throw new CairnError(
      "TX_TOO_LARGE",
      `The entry ${name} of ${queue} has ${size} bytes; an entry has at most ${max}, so that its end can be written, which contains it again.`,
      { hint: "Put the large part into a document of another bucket, and its key into the entry." },
    );
  }
}

/**
 * Appends a barrier: a transaction without operations. Every transaction that a node acknowledged before the call has a
 * smaller id, because the log assigned the barrier's position later. Throws the same errors as {@link
 * submitTransaction}.
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
  if (position + offset > known) return { txId: position + offset };
  throw new CairnError(
    "LOG_REGRESSED",
    `The log "${log.name}" stored the transaction as message ${position}, but a different message ${position} was read from it earlier.`,
    {
      hint: "Check the node (cairn status, GET /status) before you send the transaction again. The log lost its end or was replaced, and the transaction is part of its present content.",
    },
  );
}

/** Returns whether a message is the same transaction of the same log, with the same id. */
function isRepetition(
  stored: Uint8Array,
  payload: Uint8Array,
  { logId, id }: { readonly logId: string; readonly id: string },
): boolean {
  const decoded = decodeMessage(stored);
  const isOfId = decoded.kind === "transaction" && decoded.logTag === logTagOf(logId) && decoded.id === id;
  return isOfId && contentHash(stored).equals(contentHash(payload));
}

/** Throws `TX_TIMEOUT` after `timeoutMs`: the log may have stored the transaction, or may store it later. */
export async function storedInTime<T>(stored: Promise<T>, timeoutMs: number): Promise<T> {
  const limit = new Deadline(timeoutMs);
  let cause: unknown;
  try {
    const answer = await withTimeout(stored, timeoutMs);
    if (answer !== TIMED_OUT) return answer;
  } catch (error) {
    // A log with the same deadline reports the timeout with its own code.
    if (limit.leftMs > 0 || !isCairnError(error, "LOG_UNREACHABLE")) throw error;
    cause = error;
  }
  throw new CairnError("TX_TIMEOUT", `The log did not acknowledge the transaction within ${timeoutMs} ms.`, {
    hint: "If the transaction has an id, send it again: it is applied only once. Otherwise check whether its writes exist before you send it again, because it may have been stored.",
    cause,
  });
}
