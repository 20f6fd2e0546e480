import type { TxId } from "@cairn/client";
import type { WatchEvent } from "./watch-event.ts";

/** What was published at once to the watchers of the same changes; shared by all of them. */
export interface Batch {
  readonly events: readonly WatchEvent[];
  /** Everything up to here is in it or was before. */
  readonly upTo: TxId;
  readonly txTime: string | null;
  readonly bytes: number;
}

/** How much may wait for a reader before it is cut off. What waits is shared by all watchers of the same changes. */
export interface QueueBounds {
  readonly bytes: number;
  readonly batches: number;
}

/** Why a subscription gives no more: its reader was too slow, or has to read by itself what it was not told yet. */
export type Lost = "slow" | "reread";

/** What a live watcher has not taken yet. Bounded: whoever does not take it loses the subscription, not the feed its memory. */
export class Subscription {
  readonly #bounds: QueueBounds;
  readonly #onClose: (subscription: Subscription) => void;
  #queue: Batch[] = [];
  #bytes = 0;
  #lost: Lost | undefined;
  /** Ends the waiting of the reader; undefined while it does not wait. */
  #wake: (() => void) | undefined;

  constructor(bounds: QueueBounds, onClose: (subscription: Subscription) => void) {
    this.#bounds = bounds;
    this.#onClose = onClose;
  }

  get lost(): Lost | undefined {
    return this.#lost;
  }

  /** Batches that wait for the reader. */
  get waiting(): number {
    return this.#queue.length;
  }

  push(batch: Batch): void {
    if (this.#lost !== undefined) return;
    if (this.#queue.length >= this.#bounds.batches || this.#bytes + batch.bytes > this.#bounds.bytes) {
      // A reader who took everything so far is not slow, however large the one transaction that comes.
      if (this.#queue.length > 0) return this.lose("slow");
    }
    this.#queue.push(batch);
    this.#bytes += batch.bytes;
    this.wake();
  }

  /** Drops what waits. */
  lose(why: Lost): void {
    this.#lost = why;
    this.#queue = [];
    this.#bytes = 0;
    this.wake();
  }

  /** The next batch, if there is one. */
  take(): Batch | undefined {
    const batch = this.#queue.shift();
    if (batch !== undefined) this.#bytes -= batch.bytes;
    return batch;
  }

  /** Waits until there may be something new to take or to learn, `ms` at most. */
  async changed(ms: number): Promise<void> {
    if (this.#queue.length > 0 || this.#lost !== undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  wake(): void {
    this.#wake?.();
  }

  close(): void {
    this.#onClose(this);
  }
}
