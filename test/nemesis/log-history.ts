import type { LogMessage } from "@cairn/node";
import { type FoldedOperation, logTagOf, readMessage } from "@cairn/engine/testing";
import { BUCKET, FIELD, type FoundVersion, listedText } from "./observation.ts";

/** A message of the log and its outcome. */
export interface LoggedTransaction {
  readonly txId: number;
  readonly time: number;
  /** The outcome. `foreign` means that no node wrote the message for this log. */
  readonly outcome: "committed" | "aborted" | "duplicate" | "foreign";
  readonly id: string | undefined;
  readonly documents: readonly string[];
}

/** A fold of the log that uses no part of a node. It can compute the right response to a read after any transaction. */
export class LogHistory {
  /** All transactions, starting with transaction 1. */
  readonly transactions: LoggedTransaction[] = [];
  readonly #versions = new Map<string, FoundVersion[]>();
  readonly #byId = new Map<string, LoggedTransaction>();
  #logTag = "";

  apply({ position, time, payload }: LogMessage): void {
    if (position !== this.transactions.length + 1)
      throw new Error(`message ${position} was collected after ${this.transactions.length}`);
    const message = readMessage(payload);
    if (position === 1 && message?.birth !== undefined) this.#logTag = logTagOf(message.birth.log);
    const { ops = [], documents = [], id } = message?.logTag === this.#logTag ? message : {};
    const last = this.transactions.at(-1)?.time ?? 0;
    const outcome =
      message?.logTag === this.#logTag ? this.#outcome(position, ops, documents, id) : "foreign";
    const transaction = { txId: position, time: Math.max(last, time), outcome, id, documents };
    this.transactions.push(transaction);
    if (id !== undefined && !this.#byId.has(id)) this.#byId.set(id, transaction);
  }

  /** Returns the first transaction with an idempotency id. Later ones change nothing. */
  ofId(id: string): LoggedTransaction | undefined {
    return this.#byId.get(id);
  }

  /** Returns the last transaction whose time is not after `time`. */
  lastAt(time: number): number {
    return countWhile(this.transactions, (transaction) => transaction.time <= time);
  }

  /** Returns the versions of a key, oldest first. */
  versions(key: string): readonly FoundVersion[] {
    return this.#versions.get(key) ?? [];
  }

  /** Returns the document of a key after transaction `txId`. */
  at(key: string, txId: number): FoundVersion | null {
    const versions = this.versions(key);
    const version = versions[countWhile(versions, ({ revision }) => revision <= txId) - 1];
    return version?.json === undefined ? null : version;
  }

  /**
   * Returns all documents after transaction `txId`, as strings in key order. With `where`, returns only those whose
   * indexed field has that value.
   */
  list(txId: number, where?: string): string[] {
    return [...this.#versions.keys()].toSorted().flatMap((key) => {
      const found = this.at(key, txId);
      if (found?.json === undefined) return [];
      const document = JSON.parse(found.json) as Record<string, unknown>;
      return where === undefined || document[FIELD] === where ? [listedText(key, found)] : [];
    });
  }

  #outcome(
    txId: number,
    ops: readonly FoldedOperation[],
    documents: readonly string[],
    id: string | undefined,
  ): LoggedTransaction["outcome"] {
    if (id !== undefined && this.#byId.has(id)) return "duplicate";
    const isLost = ops.some(
      ([op, , key, revision]) =>
        op === "match" && (this.at(key, Number.POSITIVE_INFINITY)?.revision ?? null) !== revision,
    );
    if (isLost) return "aborted";
    const unread = [...documents];
    for (const [op, bucket, key] of ops) {
      if (op === "configure" || op === "event") unread.shift();
      else if (op !== "match" && bucket === BUCKET) this.#write(txId, op, key, unread);
    }
    return "committed";
  }

  #write(txId: number, op: string, key: string, documents: string[]): void {
    const versions = this.#versions.get(key) ?? [];
    this.#versions.set(key, versions);
    if (op === "put") versions.push({ revision: txId, json: documents.shift() ?? "" });
    else if (versions.at(-1)?.json !== undefined) versions.push({ revision: txId, json: undefined });
  }
}

/** Counts the leading elements that satisfy `isBefore`, by binary search. No later element may satisfy it. */
function countWhile<T>(all: readonly T[], isBefore: (one: T) => boolean): number {
  let [from, to] = [0, all.length];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    const one = all[middle];
    if (one !== undefined && isBefore(one)) from = middle + 1;
    else to = middle;
  }
  return from;
}
