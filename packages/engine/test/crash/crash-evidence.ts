import type { Transaction } from "@cairn/client";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { LogFold, readMessage } from "../../testing/log-fold.ts";

/** An outcome that a client received. */
export interface AnsweredOutcome {
  readonly txId: number;
  readonly committed: boolean;
  readonly duplicateOf?: number;
}

/** A transaction that a client sent, and the answer if there was one. */
interface StoredWrite {
  readonly txId: number;
  readonly transaction: Transaction;
}

/** What clients sent and learned, over all power failures. The log must agree with it. */
export class CrashEvidence {
  /** The highest transaction id that was acknowledged. */
  acknowledged = 0;
  /** The transactions with an id that were acknowledged. */
  readonly withId: Transaction[] = [];
  /** Transactions with an id of which the client does not know whether they were stored. */
  readonly unknown: Transaction[] = [];
  /** Violations that clients noticed. */
  readonly violations: string[] = [];
  /** The messages that were published without the log's check of ids. */
  readonly published = new Set<string>();
  /** The number of acknowledged transactions of each kind of outcome, so that a test shows what it covered. */
  readonly counts = { committed: 0, aborted: 0, repeated: 0, refused: 0 };
  #stored: StoredWrite[] = [];
  #outcomes = new Map<number, AnsweredOutcome>();
  #seen = new Map<string, { readonly key: string; readonly revision: number; readonly json: string }>();
  /** The log at the last examination. */
  #known: readonly LogMessage[] = [];

  /** The log stored a transaction. */
  stored(txId: number, transaction: Transaction): void {
    this.#stored.push({ txId, transaction });
    this.acknowledged = Math.max(this.acknowledged, txId);
    if (transaction.id !== undefined) this.withId.push(transaction);
  }

  answered(outcome: AnsweredOutcome): void {
    this.#outcomes.set(outcome.txId, outcome);
    this.counts[
      outcome.duplicateOf === undefined ? (outcome.committed ? "committed" : "aborted") : "repeated"
    ] += 1;
  }

  /** A client read a document. */
  seen(key: string, revision: number, json: string): void {
    this.#seen.set(`${key} ${revision}`, { key, revision, json });
  }

  /** Forgets what followed a transaction, because the device lost flushed data. */
  forgetAfter(txId: number): void {
    const lost = new Set(
      this.#stored.flatMap(({ txId: at, transaction }) => (at > txId ? [transaction.id] : [])),
    );
    this.#stored = this.#stored.filter((one) => one.txId <= txId);
    this.#known = this.#known.slice(0, txId);
    for (const at of this.#outcomes.keys()) if (at > txId) this.#outcomes.delete(at);
    for (const [name, { revision }] of this.#seen) if (revision > txId) this.#seen.delete(name);
    this.withId.splice(0, Infinity, ...this.withId.filter(({ id }) => !lost.has(id)));
    this.acknowledged = Math.min(this.acknowledged, txId);
  }

  /** Compares the log with everything that clients learned. Returns the fold of the log. Throws the first violation. */
  examine(messages: readonly LogMessage[]): LogFold {
    const [violation] = this.violations;
    if (violation !== undefined) throw new Error(violation);
    const fold = new LogFold();
    for (const message of messages) fold.apply(message);
    this.#compareWithKnown(messages);
    this.#requireStoredOnce(messages);
    for (const { txId, transaction } of this.#stored) {
      const message = messages[txId - 1];
      if (message === undefined) {
        throw new Error(`transaction ${txId} was acknowledged, but the log ends at ${messages.length}`);
      }
      if (contentOf(message) !== contentOfTransaction(transaction)) {
        throw new Error(`transaction ${txId} is another one than was acknowledged`);
      }
    }
    for (const outcome of this.#outcomes.values()) requireSame("the answer", outcome, fold);
    for (const { key, revision, json } of this.#seen.values()) {
      if (fold.version(BUCKET, key, revision)?.json !== json)
        throw new Error(`${key} was read at ${revision}, which is not in the log`);
    }
    return fold;
  }

  #compareWithKnown(messages: readonly LogMessage[]): void {
    for (const { position, time, payload } of this.#known) {
      const now = messages[position - 1];
      if (now === undefined || now.time !== time || !Buffer.from(now.payload).equals(payload)) {
        throw new Error(`message ${position} was in the log before, and has changed`);
      }
    }
    this.#known = messages;
    const hole = messages.findIndex(({ position }, index) => position !== index + 1);
    if (hole >= 0) throw new Error(`message ${hole + 1} is missing`);
  }

  #requireStoredOnce(messages: readonly LogMessage[]): void {
    const ids = new Set<string>();
    const payloads = new Set<string>();
    for (const { position, payload } of messages) {
      // Each message has a random part.
      const text = Buffer.from(payload).toString("latin1");
      if (payloads.has(text)) throw new Error(`message ${position} is a copy of an earlier one`);
      payloads.add(text);
      const id = readMessage(payload)?.id;
      if (id === undefined || this.published.has(text)) continue;
      if (ids.has(id))
        throw new Error(`the log has two messages with the id ${id}, the second at ${position}`);
      ids.add(id);
    }
  }
}

/** The bucket of all documents. */
export const BUCKET = "docs";

/** Throws if an outcome is not the one that follows from the log. */
export function requireSame(
  whose: string,
  { txId, committed, duplicateOf }: AnsweredOutcome,
  fold: LogFold,
): void {
  const folded = fold.outcome(txId);
  if (folded?.committed === committed && folded.duplicateOf === duplicateOf) return;
  const [found, wanted] = [JSON.stringify({ committed, duplicateOf }), JSON.stringify(folded)];
  throw new Error(`${whose} for transaction ${txId} is ${found}, but ${wanted} follows from the log`);
}

function contentOf({ payload }: LogMessage): string {
  const message = readMessage(payload);
  return JSON.stringify([message?.id, message?.ops, message?.documents]);
}

function contentOfTransaction({ ops, id }: Transaction): string {
  const header = ops.map((op) => (op[0] === "put" ? op.slice(0, 3) : op));
  const documents = ops.flatMap((op) => (op[0] === "put" ? [JSON.stringify(op[3])] : []));
  return JSON.stringify([id, header, documents.length === 0 ? [] : documents]);
}
