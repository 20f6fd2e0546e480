import { setImmediate } from "node:timers/promises";
import {
  CairnError,
  coalesced,
  Deadline,
  isCairnError,
  TIMED_OUT,
  unlessFailed,
  withTimeout,
} from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import type { NodeApi, SubmittedTransaction } from "../api/node-api.ts";
import { logOffset } from "../index/rows/index-state.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { AppendOptions, TxLog } from "../log/tx-log.ts";
import { contentHash, logTagOf, messageChecksum } from "../transactions/message-frame.ts";
import { decodeMessage, encodeBarrier, encodeTransaction } from "../transactions/transaction-codec.ts";
import { validTransaction, type ValidTransaction } from "../transactions/validate-transaction.ts";
import type { NodeLife } from "./node-life.ts";
import { sameHistory, type SentMessage, unconfirmed } from "./same-history.ts";
import { notReady } from "../api/not-ready.ts";

/**
 * For how many turns of the event loop a barrier waits. With two, half of 32 connections missed it (bench row latest).
 */
const GATHERING_TURNS = 5;

/** Clients that just got a response may read again and share the next barrier. An idle turn takes microseconds. */
async function gatherReads(): Promise<void> {
  for (let turn = 0; turn < GATHERING_TURNS; turn += 1) await setImmediate();
}

/** What the end of an entry has beside its document, at most: its name, twice, the message of an error, and fields. */
const END_BYTES = 16 * 1024;

/** How long the log may take to answer whether it accepts messages again (ms). */
const PROBE_MS = 5_000;

/** How far the index may be behind a message for which it is awaited: one array of the node's reading. */
const NEAR_TRANSACTIONS = 512;
/** How long the node's own reading is awaited before the log is compared instead (ms). */
const OWN_READING_MS = 100;

type StoreOptions = AppendOptions & { readonly timeoutMs: number };

interface Target {
  readonly log: TxLog;
  readonly index: IndexStore;
  /** The log's id, and the offset that is added to a position to obtain a transaction id. */
  readonly of: { readonly id: string; readonly offset: number };
}

export class NodeAppends {
  readonly #life: NodeLife;
  readonly #maxBody: number;
  readonly #confirmHistory = sameHistory(() => {
    const { log, identity, index } = this.#life;
    const isKnown = log !== undefined && identity !== undefined && index !== undefined;
    return isKnown ? { log, identity, state: index.state } : undefined;
  });
  /** Concurrent reads share an append, but a read never shares an append that began before the read. */
  readonly #sharedBarrier = coalesced(async () => await this.#appendBarrier(), gatherReads);

  /** `maxBody` is the maximum size of a request to the node (bytes). */
  constructor(life: NodeLife, maxBody: number) {
    this.#life = life;
    this.#maxBody = maxBody;
  }

  readonly submit: NodeApi["submit"] = async (
    transaction,
    { timeoutMs = LIMITS.waitMs, by, sequence } = {},
  ) => {
    const place = sequence?.take();
    try {
      const valid = validTransaction(transaction);
      const target = this.#target();
      this.#life.observation.refusals.checkStoring();
      const submitted = this.#append(target, valid, by, { messageId: valid.id, timeoutMs, place });
      const answered = this.#acknowledged(this.#guarded(target.index, submitted), timeoutMs);
      return await this.#life.observation.refusals.observe(answered);
    } catch (error) {
      place?.fail(error);
      throw error;
    } finally {
      place?.leave();
    }
  };

  /**
   * Appends a transaction and returns its id once the log has stored it in the node's own history, in the order of the
   * calls if they have places. Throws `TX_TOO_LARGE` before anything is sent, and the errors of {@link storedAfter} and
   * {@link sameHistory}.
   */
  async #append(
    target: Target,
    transaction: ValidTransaction,
    by: string | undefined,
    options: StoreOptions,
  ): Promise<SubmittedTransaction> {
    const { log, of } = target;
    const payload = encodeTransaction(transaction, of.id, undefined, by);
    checkEntries(transaction, payload.length, Math.min(this.#maxBody, log.maxPayload));
    // Only one node can use a log over which nodes cannot communicate.
    if (log.peers === undefined) return await this.#store(target, payload, options);
    const sent = this.#life.sent.add(payload);
    try {
      const stored = await this.#store(target, payload, options);
      const isRead =
        sent !== undefined && (await this.#isRead(sent, stored.txId, of.offset, options.timeoutMs / 2));
      if (isRead || (await this.#confirmHistory()) === of.id) return stored;
    } finally {
      this.#life.sent.remove(payload);
    }
    throw unconfirmed(log, "this node has left the log in the meantime");
  }

  /**
   * Throws `TX_TIMEOUT` after `timeoutMs`, or if the node has been closed: the log may have stored the transaction, or
   * may store it later.
   */
  async #acknowledged<T>(stored: Promise<T>, timeoutMs: number): Promise<T> {
    const limit = new Deadline(timeoutMs);
    let cause: unknown;
    try {
      const answer = await withTimeout(stored, timeoutMs);
      if (answer !== TIMED_OUT) return answer;
    } catch (error) {
      const isLeft = isCairnError(error, "LOG_REGRESSED") && this.#isStopping();
      // A log with the same deadline reports the timeout with its own code.
      const isOver = isCairnError(error, "LOG_UNREACHABLE") && (limit.leftMs <= 0 || this.#isStopping());
      if (!isLeft && !isOver) throw error;
      cause = error;
    }
    const when = this.#isStopping() ? "before the node was closed" : `within ${timeoutMs} ms`;
    throw new CairnError("TX_TIMEOUT", `The log did not acknowledge the transaction ${when}.`, {
      hint: "If the transaction has an id, send it again: it is applied only once. Otherwise check whether its writes exist before you send it again, because it may have been stored.",
      cause,
    });
  }

  #isStopping(): boolean {
    return this.#life.phase === "stopping";
  }

  /**
   * Returns whether the node's own reading has brought a message at the position at which the log has stored it. If the
   * reading is elsewhere, or too far behind, it is not awaited, because then a comparison takes less time.
   */
  async #isRead(sent: SentMessage, txId: TxId, offset: number, timeoutMs: number): Promise<boolean> {
    if (sent.position === undefined) {
      const ahead = txId - this.#life.position.txId;
      if (ahead <= 0 || ahead > NEAR_TRANSACTIONS) return false;
      await withTimeout(sent.answered.promise, Math.min(timeoutMs, OWN_READING_MS));
    }
    return sent.position === txId - offset;
  }

  /** Appends a message unless a message with its id has been appended. Returns once the log has stored it. */
  async #store(target: Target, payload: Uint8Array, options: StoreOptions): Promise<SubmittedTransaction> {
    const { log, index, of } = target;
    const { messageId: id, timeoutMs, place } = options;
    const known = index.state.txId;
    const earlier = id === undefined ? undefined : await this.#earlier(target, id, payload);
    if (earlier !== undefined) return earlier;
    // The id of an earlier message may still be looked for.
    const reached = place?.reached();
    if (reached !== undefined) await reached;
    const failure = place?.failure();
    if (failure !== undefined) throw failure.error;
    const { refusals } = this.#life.observation;
    const appending = refusals.storing(log.append(payload, options));
    place?.leave();
    let appended = await appending;
    if (appended.duplicate && id !== undefined) {
      const txId = appended.position + of.offset;
      const first = await log.fetch(appended.position);
      if (first !== undefined && isRepetition(first.payload, payload, of.id, id))
        return { txId, checksum: messageChecksum(first.payload), isRepeated: true };
      // The log remembers ids for minutes, and any client can set them, so its message may be one to which the id does
      // not belong: the index decides, which also applies nothing twice.
      const indexed = this.#life.position.reached(txId, timeoutMs / 2).then(() => true);
      const owner = (await indexed.catch(() => false)) ? await this.#earlier(target, id, payload) : undefined;
      if (owner !== undefined) return owner;
      appended = await refusals.storing(log.append(payload, { timeoutMs }));
    }
    const txId = storedAfter(known, log, appended.position, of.offset);
    return { txId, checksum: messageChecksum(payload) };
  }

  /**
   * Returns the transaction that the index knows by an id; undefined if there is none, or if nothing identifies its
   * message any more. Throws `CONFLICT` if its content is different.
   */
  async #earlier(
    { log, index, of }: Target,
    id: string,
    payload: Uint8Array,
  ): Promise<SubmittedTransaction | undefined> {
    const owner = await index.ownerOf(id);
    if (owner === undefined) return undefined;
    const { txId } = owner;
    if (!contentHash(payload).equals(owner.contentHash)) {
      throw new CairnError(
        "CONFLICT",
        `Transaction ${txId} has the same id but different content.`,
        "Choose a new id for different content, because an id identifies one transaction.",
      );
    }
    const recent = index.checksumAt(txId);
    if (recent !== undefined) return { txId, checksum: recent, isRepeated: true };
    const message = await log.fetch(txId - of.offset);
    return message && { txId, checksum: messageChecksum(message.payload), isRepeated: true };
  }

  /**
   * Appends a barrier: a transaction without operations. Every transaction that a node acknowledged before the call has
   * a smaller id, because the log assigned the barrier's position later.
   */
  async #barrier({ log, index, of }: Target, timeoutMs: number): Promise<TxId> {
    const known = index.state.txId;
    const appended = this.#life.observation.refusals.storing(log.append(encodeBarrier(of.id), { timeoutMs }));
    const stored = appended.then(({ position }) => storedAfter(known, log, position, of.offset));
    return await this.#guarded(index, stored);
  }

  /**
   * Returns the id of the transaction for which a linearizable read must wait. No transaction that any node
   * acknowledged before the call has a higher id. It would not be enough to query the end of a shared log, because a
   * server that is cut off from the others keeps responding for a few seconds. A message, by contrast, is stored only
   * once the servers agree. Throws `NOT_READY` while the node does not know its log or doubts it, `LOG_READ_ONLY` if
   * the log is a backup, `TX_TIMEOUT` after `timeoutMs`, and otherwise the log's own error, unchanged.
   */
  async barrier(timeoutMs: number): Promise<TxId> {
    const { backup } = this.#target().log;
    if (backup !== undefined) {
      const message = `This node reads its log from the backup in ${backup.location}, which may lack transactions that were acknowledged, so it serves no linearizable reads.`;
      const hint =
        "Send the request to a node that has access to the log itself. To wait on this node for a transaction with a known id, use min-tx instead of linearizable=true.";
      throw new CairnError("LOG_READ_ONLY", message, hint);
    }
    const txId = await withTimeout(this.#sharedBarrier(), timeoutMs);
    if (txId !== TIMED_OUT) return txId;
    throw new CairnError(
      "TX_TIMEOUT",
      `The barrier of a linearizable read was not stored and indexed within ${timeoutMs} ms; this node has indexed up to transaction ${this.#life.position.txId}.`,
      "Try again, on this node or another one, or omit linearizable=true to read the node's current state. cairn status shows whether the log can be reached and how far the node is behind it.",
    );
  }

  /**
   * Appends a barrier if the log has not stored what it was given last, more than `quietMs` ago. If the log accepts the
   * barrier, it has room again. While it still refuses clients, this would prove nothing: a barrier is so small.
   */
  async retryRefused(quietMs: number): Promise<void> {
    const { refusals } = this.#life.observation;
    if ((refusals.quietMs ?? 0) <= quietMs) return;
    const probe = async (): Promise<TxId> => await this.#barrier(this.#target(), PROBE_MS);
    await unlessFailed(refusals.observe(probe()), "any", undefined);
  }

  async #appendBarrier(): Promise<TxId> {
    const target = this.#target();
    const { log, of } = target;
    if (log.hasOneWriter === true) return (await log.bounds()).last + of.offset;
    const txId = await this.#barrier(target, LIMITS.waitMs);
    this.#life.observation.metrics.onBarrier();
    // Later reads must wait for the index to pass this barrier anyway. Until then, they are collected for the next
    // barrier.
    await this.#life.position.reached(txId, LIMITS.waitMs);
    return txId;
  }

  /** Throws `NOT_READY` while the node does not know its log, or doubts what it has read: it may be a different one. */
  #target(): Target {
    const { log, identity, index, phase } = this.#life;
    const isKnown = log !== undefined && identity !== undefined && index !== undefined;
    if (!isKnown || phase === "failed" || this.#life.isDoubted) throw notReady(this.#life);
    return { log, index, of: { id: identity.id, offset: logOffset(identity, index.state) } };
  }

  /** Awaits an append, which may be the first operation to detect that the log has a different history. */
  async #guarded<T>(index: IndexStore, appended: Promise<T>): Promise<T> {
    try {
      return await appended;
    } catch (error) {
      this.#life.suspect(index, error);
      throw error;
    }
  }
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
      "Put the large part into a document of another bucket, and its key into the entry.",
    );
  }
}

/**
 * Returns the id of a message that the log has stored. Throws `LOG_REGRESSED` if it is at or before `known`, the last
 * transaction read from the log: the log then has a different history, so the caller must not wait for the id.
 */
function storedAfter(known: TxId, log: TxLog, position: number, offset: number): TxId {
  if (position + offset > known) return position + offset;
  throw new CairnError(
    "LOG_REGRESSED",
    `The log "${log.name}" stored the transaction as message ${position}, but a different message ${position} was read from it earlier.`,
    "Check the node (cairn status, GET /status) before you send the transaction again. The log lost its end or was replaced, and the transaction is part of its present content.",
  );
}

function isRepetition(stored: Uint8Array, payload: Uint8Array, logId: string, id: string): boolean {
  const decoded = decodeMessage(stored);
  const isOfId = decoded.kind === "transaction" && decoded.logTag === logTagOf(logId) && decoded.id === id;
  return isOfId && contentHash(stored).equals(contentHash(payload));
}
