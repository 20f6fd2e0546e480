import type { ClientTransaction } from "./client-types.ts";
import { readEventStream } from "./event-stream-reader.ts";
import type { TxId } from "./transaction.ts";

/** Nodes send heartbeats every 10 s: a connection on which nothing comes for longer than this is dead. */
export const SILENCE_MS = 35_000;

/** Up to where nothing was missed. Undefined at the first node of a watch that begins now. */
export interface WatchPlace {
  readonly from: TxId | undefined;
  /** The time of that transaction: by it a node tells another log from its own. */
  readonly fromTime: string | undefined;
}

/** The nodes that are watched, by whatever means they are reached. */
export interface WatchedNodes {
  /** The text of the stream of the node whose turn it is, from after that place on. */
  open(place: WatchPlace): Promise<AsyncIterable<string>>;
  /**
   * That one's stream ended, or never began, for the reason `why`: the `failures`th time since anything was heard. Throws where no node
   * cures that; otherwise resolves when the next one may be asked.
   */
  left(why: unknown, failures: number, from: TxId | undefined): Promise<void>;
}

/** A node ended the watch in good order. `regressed`: the log lost what was told, so that no node can go on. */
export class WatchEndedError extends Error {
  readonly regressed: boolean;

  constructor(message = "The node ended the watch.", reason?: string) {
    super(message);
    this.name = "WatchEndedError";
    this.regressed = reason === "regressed";
  }
}

/** What any event of the stream may have. */
interface SentFields<T> extends ClientTransaction<T> {
  readonly ahead?: boolean;
  readonly reason?: string;
  readonly message?: string;
}

/** Where to begin, and when to end. */
export interface FollowOptions {
  readonly from?: TxId | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onPosition?: ((txId: TxId) => void) | undefined;
}

/** A transaction, and the text in which it came. */
export interface FollowedTransaction<T> {
  readonly transaction: ClientTransaction<T>;
  readonly json: string;
}

/**
 * Every transaction from `from` on, once and in the order of the log: where one node's stream ends, the next goes on from exactly
 * there. Ends when it is aborted.
 */
export async function* followStream<T>(
  nodes: WatchedNodes,
  options: FollowOptions,
): AsyncGenerator<FollowedTransaction<T>, void, void> {
  const { signal, onPosition } = options;
  let place: WatchPlace = { from: options.from, fromTime: undefined };
  for (let failures = 0; !isAborted(signal);) {
    try {
      for await (const { event, data } of readEventStream(await nodes.open(place))) {
        const told = JSON.parse(data) as SentFields<T>;
        if (event === "cutoff") throw new WatchEndedError(told.message, told.reason);
        // A watch that waits for its beginning tells how far the node is, which is behind it.
        if (told.ahead === true) continue;
        failures = 0;
        if (event === "tx") yield { transaction: told, json: data };
        place = { from: told.txId, fromTime: told.txTime ?? undefined };
        onPosition?.(told.txId);
      }
      throw new WatchEndedError();
    } catch (error) {
      if (isAborted(signal)) return;
      failures += 1;
      await nodes.left(error, failures, place.from);
    }
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
