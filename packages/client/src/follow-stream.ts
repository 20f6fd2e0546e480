import type { ClientTransaction } from "./types/client-types.ts";
import { readEventStream } from "./event-stream-reader.ts";
import type { TxId } from "./types/transaction.ts";

/** The duration of silence after which a connection counts as dead. Nodes send heartbeats every 10 s. */
export const SILENCE_MS = 35_000;

/** Nothing was missed up to this transaction. Undefined at the first node of a watch from the current transaction. */
export interface WatchPosition {
  readonly from: TxId | undefined;
  /** The time of that transaction, by which a node distinguishes its log from another one. */
  readonly fromTime: string | undefined;
}

/** The watched nodes, independent of the transport. */
export interface WatchedNodes {
  /** Opens the current node's stream after this position, and returns its text. */
  open(position: WatchPosition): Promise<AsyncIterable<string>>;
  /**
   * Called when the current node's stream has ended or could not be opened. `failures` is the number of such failures
   * since anything last arrived. Resolves when the next node may be tried. Throws if no node can continue.
   */
  onEnd(reason: unknown, failures: number, from: TxId | undefined): Promise<void>;
}

/**
 * The error that is thrown if a node has ended the watch cleanly. `regressed` means that the log lost transactions that
 * had been sent, so no node can continue.
 */
export class WatchEndedError extends Error {
  readonly regressed: boolean;

  constructor(message = "The node ended the watch.", reason?: string) {
    super(message);
    this.name = "WatchEndedError";
    this.regressed = reason === "regressed";
  }
}

interface EventFields<T> extends ClientTransaction<T> {
  readonly ahead?: boolean;
  readonly reason?: string;
  readonly message?: string;
}

export interface FollowStreamOptions {
  readonly from?: TxId | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onPosition?: ((txId: TxId) => void) | undefined;
}

/** A transaction, and its JSON as it was received. */
export interface FollowedTransaction<T> {
  readonly transaction: ClientTransaction<T>;
  readonly json: string;
}

/**
 * Yields every transaction after `from`, once and in log order. When one node's stream ends, the next node continues
 * from exactly that position. Ends when the signal is aborted.
 */
export async function* followStream<T>(
  nodes: WatchedNodes,
  options: FollowStreamOptions,
): AsyncGenerator<FollowedTransaction<T>, void, void> {
  const { signal, onPosition } = options;
  let position: WatchPosition = { from: options.from, fromTime: undefined };
  for (let failures = 0; !isAborted(signal);) {
    try {
      for await (const { event, data } of readEventStream(await nodes.open(position))) {
        const fields = JSON.parse(data) as EventFields<T>;
        if (event === "cutoff") throw new WatchEndedError(fields.message, fields.reason);
        // Until the node reaches the beginning of the watch, it sends its own position, which is behind this one.
        if (fields.ahead === true) continue;
        failures = 0;
        if (event === "tx") yield { transaction: fields, json: data };
        position = { from: fields.txId, fromTime: fields.txTime ?? undefined };
        onPosition?.(fields.txId);
      }
      throw new WatchEndedError();
    } catch (error) {
      if (isAborted(signal)) return;
      failures += 1;
      await nodes.onEnd(error, failures, position.from);
    }
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
