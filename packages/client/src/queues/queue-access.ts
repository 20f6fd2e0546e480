import type { ClientTransaction } from "../types/client-types.ts";
import type { OpenEntriesPage, QueueStatus } from "../types/queues.ts";
import type { Transaction, TxId, TxOutcome } from "../types/transaction.ts";

/**
 * The nodes of a queue as a director uses them. A client provides it over HTTP, and a node in the same process. Reads
 * include everything that this director wrote before. Errors have a `code`.
 */
export interface QueueAccess {
  /** Submits a transaction, and returns its outcome once it is indexed. It has an id, so it may be sent again. */
  transact(transaction: Transaction, signal: AbortSignal): Promise<TxOutcome>;
  queue(name: string, signal: AbortSignal): Promise<QueueStatus>;
  openEntries(query: OpenEntriesQuestion, signal: AbortSignal): Promise<OpenEntriesPage>;
  /** Yields every transaction after `from` that changes the bucket. Ends when the signal is aborted. */
  watch(bucket: string, from: TxId, signal: AbortSignal): AsyncIterable<ClientTransaction>;
}

/** A page of open entries to read. */
export interface OpenEntriesQuestion {
  readonly queue: string;
  readonly shard: number;
  readonly limit: number;
  readonly cursor: string | undefined;
}

/** Errors that the same request will meet again, however often it is sent. */
const PERMANENT: ReadonlySet<unknown> = new Set([
  "TX_INVALID",
  "TX_TOO_LARGE",
  "REQUEST_INVALID",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "NOT_FOUND",
  "CONFLICT",
]);

/** Returns whether the same request may succeed later. */
export function mayPass(error: unknown): boolean {
  return !PERMANENT.has(codeOf(error));
}

/** Returns the code of an error of a node or a client; undefined for other errors. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
