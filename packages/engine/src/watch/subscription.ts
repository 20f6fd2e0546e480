import { withTimeout } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { TransactionEvent } from "../index/read/transaction-event.ts";
import type { WatchedPosition } from "./watch-event.ts";

/** Events that are published together to the watchers of the same changes. The watchers share the array. */
export interface Batch {
  readonly events: readonly TransactionEvent[];
  /** The place up to which all events are in this batch or in earlier ones. */
  readonly end: WatchedPosition;
  readonly bytes: number;
}

/** The size of the queue at which a reader is cut off. Queues of watchers of the same changes share their content. */
export interface QueueBounds {
  readonly bytes: number;
  readonly batches: number;
}

/** The reason why a subscription ended: either its reader was too slow, or the reader must read the past itself. */
export type Lost = "slow" | "reread";

/** The bounded queue of a live watcher. A reader that does not keep up loses its subscription, so that it cannot exhaust memory. */
export class Subscription {
  /** The last transaction when the subscription began. What comes after it is new. */
  readonly begin: TxId;
  readonly #bounds: QueueBounds;
  readonly #onClose: (subscription: Subscription) => void;
  #queue: Batch[] = [];
  #bytes = 0;
  lost: Lost | undefined;
  /** Wakes the reader; undefined while the reader is not waiting. */
  #wake: (() => void) | undefined;

  constructor(begin: TxId, bounds: QueueBounds, onClose: (subscription: Subscription) => void) {
    this.begin = begin;
    this.#bounds = bounds;
    this.#onClose = onClose;
  }

  /** The number of batches that the reader has not taken yet. */
  get waiting(): number {
    return this.#queue.length;
  }

  push(batch: Batch): void {
    if (this.lost !== undefined) return;
    if (this.#queue.length >= this.#bounds.batches || this.#bytes + batch.bytes > this.#bounds.bytes) {
      const [next] = this.#queue;
      // A reader that has taken everything so far is not slow, no matter how large the next transaction is. One that
      // still takes what was there when it began reads that at its own rate.
      if (next !== undefined) return this.lose(next.end.txId <= this.begin ? "reread" : "slow");
    }
    this.#queue.push(batch);
    this.#bytes += batch.bytes;
    this.wake();
  }

  lose(why: Lost): void {
    this.lost = why;
    this.#queue = [];
    this.#bytes = 0;
    this.wake();
  }

  take(): Batch | undefined {
    const batch = this.#queue.shift();
    if (batch !== undefined) this.#bytes -= batch.bytes;
    return batch;
  }

  /** Waits until there may be a batch to take or the subscription has ended, but at most `ms`. */
  async changed(ms: number): Promise<void> {
    if (this.#queue.length > 0 || this.lost !== undefined) return;
    await withTimeout(new Promise<void>((resolve) => (this.#wake = resolve)), ms);
    this.#wake = undefined;
  }

  wake(): void {
    this.#wake?.();
  }

  close(): void {
    this.#onClose(this);
  }
}
