import type { ClientCalls } from "../types/client-calls.ts";
import { hasCode } from "../types/client-error.ts";
import type { ClientTransaction } from "../types/client-types.ts";
import type { QueuePolicy } from "../types/policies.ts";
import type { OpenEntriesPage, QueueEntry, QueueStatus } from "../types/queues.ts";
import type {
  AnyOperation,
  EntryOptions,
  Position,
  Transaction,
  TxId,
  TxOutcome,
} from "../types/transaction.ts";
import { retryPauseMs, wait } from "../types/timing.ts";

/**
 * The nodes of a queue as a director uses them. A client provides it over HTTP, and a node in the same process. Reads
 * include everything that this director wrote before, and what its watch has yielded. Errors are those of {@link hasCode}.
 */
export interface QueueAccess {
  /** Submits a transaction, and returns its outcome once it is indexed. It has an id, so it may be sent again. */
  transact(transaction: Transaction<AnyOperation>, signal: AbortSignal): Promise<TxOutcome>;
  queue(name: string, signal: AbortSignal): Promise<QueueStatus>;
  openEntries(query: OpenEntriesQuestion, signal: AbortSignal): Promise<OpenEntriesPage>;
  /** Yields every transaction from `from` on that changes the bucket. Ends when the signal is aborted. */
  watch(bucket: string, from: Position, signal: AbortSignal): AsyncIterable<ClientTransaction>;
}

/** The nodes of a queue, as a client reaches them. */
export function queueAccess(
  client: Pick<ClientCalls, "transact" | "queue" | "openEntries" | "watch">,
): QueueAccess {
  return {
    transact: async (transaction, signal) => await client.transact(transaction, { signal }),
    queue: async (name, signal) => await client.queue(name, { signal }),
    openEntries: async ({ queue, shard, ...query }, signal) =>
      await client.openEntries(queue, shard, { ...query, signal }),
    watch: (bucket, from, signal) => client.watch({ bucket, from, signal }),
  };
}

/** Returns the same access, and the time by the clock of the log (ms since 1970), as the last transaction showed it. */
export function timedAccess(access: QueueAccess): {
  readonly access: QueueAccess;
  readonly now: () => number;
} {
  let shown = { time: Date.now(), at: performance.now() };
  return {
    access: {
      ...access,
      async transact(transaction, signal) {
        const outcome = await access.transact(transaction, signal);
        shown = { time: Date.parse(outcome.txTime), at: performance.now() };
        return outcome;
      },
    },
    now: () => shown.time + performance.now() - shown.at,
  };
}

export interface OpenEntriesQuestion {
  readonly queue: string;
  readonly shard: number;
  readonly limit: number;
  readonly cursor: string | undefined;
}

/** Something that waiters await until it is notified. */
export class Bell {
  #ring = (): void => {};
  next = this.#renewed();

  ring(): void {
    this.#ring();
    this.next = this.#renewed();
  }

  #renewed(): Promise<void> {
    return new Promise((resolve) => (this.#ring = resolve));
  }
}

/** The queue of a director, as the shards that it holds use it. */
export interface DirectedQueue {
  readonly access: QueueAccess;
  /** Submits what a shard writes, with what others write at the same time. */
  readonly transact: (ops: readonly AnyOperation[], signal: AbortSignal) => Promise<TxOutcome>;
  readonly name: string;
  /** As it was read last. */
  policy: QueuePolicy;
  /** See {@link timedAccess}. What a machine with another clock writes would hold entries back on all others. */
  readonly now: () => number;
  /** Its lease, which is needed for every entry. */
  leaseMs: number;
  /** The number of entries that each shard should have ready. */
  readonly ahead: number;
  /** Rung when there may be entries to hand out, or fewer in hand. */
  readonly bell: Bell;
  readonly onError: (error: unknown, entry?: QueueEntry) => void;
}

/** Errors that the same request will meet again, however often it is sent. */
const PERMANENT = [
  "TX_INVALID",
  "TX_TOO_LARGE",
  "REQUEST_INVALID",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "NOT_FOUND",
  "OUTCOME_REMOVED",
  "LOG_READ_ONLY",
] as const;

/** Returns whether the same request may succeed later. */
export function mayPass(error: unknown): boolean {
  return !hasCode(error, ...PERMANENT);
}

/** Submits a transaction again and again, until it is indexed. It is applied once. Throws errors that will not pass. */
export async function transactUntil(
  access: Pick<QueueAccess, "transact">,
  ops: readonly AnyOperation[],
  signal: AbortSignal,
): Promise<TxOutcome> {
  const transaction = { ops, id: crypto.randomUUID() };
  for (let failures = 0; ; failures += 1) {
    signal.throwIfAborted();
    try {
      return await access.transact(transaction, signal);
    } catch (error) {
      if (signal.aborted || !mayPass(error) || error instanceof TypeError) throw error;
    }
    await wait(retryPauseMs(failures), signal);
  }
}

/** The hint of each refusal whose reason is that a bucket is not a queue. */
export const MAKE_QUEUE =
  'To make an empty bucket a queue, add it to "queues" in the policies (cairn policy show prints them), and set them with cairn policy apply, or with setPolicies in a program.';

/** Returns the hint of a refusal that only a queue gives; undefined if the reason may be another one. */
export function queueHint(reason: string): string | undefined {
  if (reason.endsWith(" is not a queue")) return MAKE_QUEUE;
  const isOfEntry = /is written only with the epoch of its shard$| shard \d+ is [a-z]+$/.test(reason);
  return isOfEntry
    ? "An entry of a queue is changed by what a director's handler returns, or by an operation with a hold of its shard; new ones are enqueued."
    : undefined;
}

/** Returns the reason in an outcome without its code and without a full stop, for a message with its own. */
export function reasonWords(reason = "the transaction was aborted"): string {
  return reason.replace(/^[A-Z_]+: /, "").replace(/\.$/, "");
}

/** A claim of a shard, or the beginning of its drain. */
export interface Hold {
  readonly queue: string;
  readonly shard: number;
  readonly epoch: TxId;
  /** The name of the holder. */
  readonly as: string;
}

/** Claims a shard, or begins to drain it. Returns the reason as a sentence if that is refused. */
export async function takeHold(
  access: Pick<QueueAccess, "transact">,
  operation: "claim" | "drain",
  { queue, shard, as }: Omit<Hold, "epoch">,
  signal: AbortSignal,
): Promise<Hold | string> {
  const outcome = await transactUntil(access, [[operation, queue, shard, { as }]], signal);
  const { committed, txId, duplicateOf: epoch = txId, reason } = outcome;
  return committed ? { queue, shard, epoch, as } : `${reasonWords(reason)}.`;
}

/** Renews, releases or retires a held shard. */
export async function updateHold(
  access: Pick<QueueAccess, "transact">,
  operation: "renew" | "release" | "retire",
  hold: Hold,
  signal: AbortSignal,
): Promise<TxOutcome> {
  return await transactUntil(access, [[operation, hold.queue, hold.shard, withHold(hold)]], signal);
}

/** Returns a hold as operations contain it. */
export function withHold({ epoch, as }: Hold): EntryOptions {
  return { epoch, as };
}

/**
 * Returns whether a hold is still the newest of its shard. Its epoch alone does not say so: once a log has lost its end,
 * another holder's claim may have the same transaction id as the lost one.
 */
export function isHeld({ shards }: QueueStatus, { shard, epoch, as }: Hold): boolean {
  const found = shards.find((one) => one.shard === shard);
  return found?.epoch === epoch && found.holder?.as === as;
}

/** Returns the spare shard with the lowest number; undefined if none is spare. */
export function lowestSpare({ shards, policy }: QueueStatus): number | undefined {
  const used = new Set(shards.map(({ shard }) => shard));
  for (let shard = 0; shard < policy.shards; shard += 1) if (!used.has(shard)) return shard;
  return undefined;
}
