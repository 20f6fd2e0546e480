import { setImmediate } from "node:timers/promises";
import { CairnError, isCairnError } from "@cairn/kv";
import type { Transaction, TxId } from "@cairn/client";
import { DEFAULT_WAIT_MS } from "../api/node-api.ts";
import { coalesced } from "../concurrency/coalesced.ts";
import { TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";
import { type IndexState, lastKnown, logOffset } from "../index/rows/index-state.ts";
import type { IndexStore } from "../index/index-store.ts";
import {
  type IdOwner,
  type SubmittedTransaction,
  submitBarrier,
  submitTransaction,
  storedInTime,
} from "../log/submit-transaction.ts";
import { checkAnchor } from "../log/anchor.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { validTransaction } from "../transactions/validate-transaction.ts";
import type { NodeLife } from "./node-life.ts";
import { notReady } from "../api/not-ready.ts";

/**
 * The number of turns of the event loop for which a barrier waits before it is appended. With two turns, half of 32
 * connections missed the shared barrier each time (bench row latest).
 */
const GATHERING_TURNS = 5;

/** Clients that just got a response may read again and share the next barrier. An idle turn takes microseconds. */
async function gatherReads(): Promise<void> {
  for (let turn = 0; turn < GATHERING_TURNS; turn += 1) await setImmediate();
}

/** How long the log may take to answer whether it accepts messages again (ms). */
const PROBE_MS = 5_000;

interface Target {
  readonly log: TxLog;
  readonly index: IndexStore;
  /** The log's id, and the offset that is added to a position to obtain a transaction id. */
  readonly of: { readonly id: string; readonly offset: number };
}

/** Appends to a node's log: transactions, and barriers for linearizable reads. */
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

  /** Throws the same errors as {@link NodeApi.submit}. */
  async submit(
    transaction: Transaction,
    { timeoutMs = DEFAULT_WAIT_MS, by }: { readonly timeoutMs?: number; readonly by?: string } = {},
  ): Promise<SubmittedTransaction> {
    const valid = validTransaction(transaction);
    const { log, index, of } = this.#target();
    const ownerOf = async (id: string, indexed: TxId): Promise<IdOwner | undefined> => {
      const isIndexed = this.#life.position.reached(indexed, timeoutMs / 2).then(
        () => true,
        () => false,
      );
      return (await isIndexed) ? await index.ownerOf(id) : undefined;
    };
    const known = index.state.txId;
    const stored = submitTransaction(log, of, valid, {
      known,
      timeoutMs,
      maxBody: this.#maxBody,
      by,
      ownerOf,
    });
    const submitted = stored.then(async (answer) => {
      await this.#confirmHistory();
      return answer;
    });
    const answered = storedInTime(this.#guarded(index, submitted), timeoutMs);
    return await this.#life.observation.refusals.observe(answered);
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
      throw new CairnError("LOG_READ_ONLY", message, { hint });
    }
    const txId = await withTimeout(this.#sharedBarrier(), timeoutMs);
    if (txId !== TIMED_OUT) return txId;
    throw new CairnError(
      "TX_TIMEOUT",
      `The barrier of a linearizable read was not stored and indexed within ${timeoutMs} ms; this node has indexed up to transaction ${this.#life.position.txId}.`,
      {
        hint: "Try again, on this node or another one, or omit linearizable=true to read the node's current state. cairn status shows whether the log can be reached and how far the node is behind it.",
      },
    );
  }

  /**
   * Appends a barrier if the log has refused transactions, but none within the last `quietMs`. If the log accepts the
   * barrier, it has room again. While it still refuses clients, this would prove nothing, because a barrier is so small.
   */
  async retryRefused(quietMs: number): Promise<void> {
    const { refusals } = this.#life.observation;
    if ((refusals.quietMs ?? 0) <= quietMs) return;
    try {
      const { log, index, of } = this.#target();
      const stored = submitBarrier(log, of, index.state.txId, PROBE_MS);
      await refusals.observe(this.#guarded(index, stored));
    } catch (error) {
      if (!isCairnError(error)) throw error;
    }
  }

  async #appendBarrier(): Promise<TxId> {
    const { log, index, of } = this.#target();
    if (log.hasOneWriter === true) return (await log.bounds()).last + of.offset;
    const { txId } = await this.#guarded(index, submitBarrier(log, of, index.state.txId, DEFAULT_WAIT_MS));
    this.#life.observation.metrics.onBarrier();
    // Later reads must wait for the index to pass this barrier anyway. Until then, they are collected for the next
    // barrier.
    await this.#life.position.reached(txId, DEFAULT_WAIT_MS);
    return txId;
  }

  /** Throws `NOT_READY` while the node does not know its log, or doubts what it has read: it may be a different one. */
  #target(): Target {
    const { log, identity, index, phase } = this.#life;
    const isKnown = log !== undefined && identity !== undefined && index !== undefined;
    if (!isKnown || phase === "failed" || this.#life.isDoubted) throw notReady(this.#life, { isRead: false });
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

/** A node's current knowledge of its log. */
interface KnownLog {
  readonly log: TxLog;
  readonly identity: LogIdentity;
  readonly state: IndexState;
}

/**
 * Returns a function to be called after the log has stored a transaction. It verifies that the log is still the one
 * that the node knows. A shared log can be replaced or rolled back while a node runs, and the node would then add its
 * transactions to a different history. If a call returns, everything that the log stored before the call belongs to the
 * node's history. Otherwise the call throws `LOG_REGRESSED`, also if the log has been trimmed beyond what the node has
 * read, because it may then be a different one. Concurrent calls share one request.
 */
export function sameHistory(known: () => KnownLog | undefined): () => Promise<void> {
  return coalesced(async () => {
    const now = known();
    // Only one node can use a log over which nodes cannot communicate.
    if (now === undefined || now.log.peers === undefined) return;
    const { log, identity, state } = now;
    const anchor = lastKnown(identity, state);
    const problem = anchor === undefined ? undefined : await checkAnchor(log, anchor);
    const isSame =
      anchor === undefined ? (await readLogIdentity(log))?.id === identity.id : problem === undefined;
    if (isSame) return;
    const reason =
      problem?.code === "LOG_TRIMMED"
        ? "no longer holds the message by which this node would recognize it"
        : "it is no longer the log that this node was following";
    throw new CairnError(
      "LOG_REGRESSED",
      `The log "${log.name}" stored the transaction, but ${reason}${problem === undefined ? "" : `: ${problem.message}`}`,
      {
        hint: "Wait until the node, which is comparing its log again, is ready. Then check whether the transaction exists before you send it again.",
        cause: problem,
      },
    );
  });
}
