import { type CairnError, resolvable, withTimeout } from "@cairn/kv";
import { setImmediate as yieldToEventLoop } from "node:timers/promises";
import type { TxId } from "@cairn/client";
import { asCairnError } from "../observe/failures.ts";
import type { ChangesPage } from "../index/read/transaction-changes.ts";
import { isoTime, formatPosition } from "@cairn/text";
import { pauseAfter } from "./fair-reads.ts";
import { WRITE_BYTES, WRITE_TURNS } from "./write-turns.ts";
import { type RecentBounds, RecentPast } from "./recent-past.ts";
import { type QueueBounds, Subscription } from "./subscription.ts";
import type { CutoffReason, WatchedPosition } from "./watch-event.ts";
import { WatchCompactedError } from "../index/read/watch-compacted.ts";
import { type WatchFilter, WatchRouter } from "./watch-router.ts";
import type { WatchSource } from "./watch-source.ts";

export interface FeedBounds extends RecentBounds {
  readonly queue: QueueBounds;
  /** The bounds of one read. */
  readonly pageTransactions: number;
  readonly pageBytes: number;
}

/** Even 1,000 stalled watchers together hold about the bytes of one queue: they share the same recent past. */
export const FEED_BOUNDS: FeedBounds = {
  queue: { bytes: 4 * 1024 * 1024, batches: 4_096 },
  recentTransactions: 8_192,
  recentBytes: 4 * 1024 * 1024,
  recentPageBytes: 64 * 1024,
  pageTransactions: 1_000,
  pageBytes: 1024 * 1024,
};

export interface FeedListener {
  opened(): void;
  closed(): void;
  cutOff(reason: CutoffReason): void;
  failed(error: CairnError): void;
}

export interface FeedEnd {
  readonly reason: CutoffReason;
  readonly message: string;
}

/**
 * Takes changes once for all watchers, as they were applied or, if those are not kept any more, from the index, without
 * delaying it. Without watchers, nothing is kept or read.
 */
export class WatchFeed {
  readonly source: WatchSource;
  readonly listener: FeedListener;
  readonly #bounds: FeedBounds;
  readonly #router = new WatchRouter();
  /** The watchers that are waiting for a transaction that has not been indexed yet. */
  readonly #arrivals = new Set<() => void>();
  readonly #recent: RecentPast;
  /** The last transaction that was published to subscribers. */
  position: WatchedPosition = { txId: 0, txTime: null, position: "0" };
  /** True while pages are being read and published. Only then is the recent past known. */
  #running = false;
  #ran: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;
  #end: FeedEnd | undefined;

  constructor(source: WatchSource, listener: FeedListener, bounds: FeedBounds = FEED_BOUNDS) {
    this.source = source;
    this.listener = listener;
    this.#bounds = bounds;
    this.#recent = new RecentPast(bounds);
  }

  get ended(): FeedEnd | undefined {
    return this.#end;
  }

  /** The number of subscribers. Watchers that are still reading the past are not included. */
  get watchers(): number {
    return this.#router.size;
  }

  /** Reports that the index has advanced. This is called for each applied batch, so it does very little. */
  advanced(): void {
    this.#wake?.();
    if (this.#arrivals.size > 0) for (const arrived of this.#arrivals) arrived();
  }

  /** Ends all watches. Events that have already been published are still delivered. */
  end(end: FeedEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#wake?.();
    for (const subscription of this.#router.subscriptions()) subscription.wake();
    for (const arrived of this.#arrivals) arrived();
  }

  /** Waits until a feed that has ended no longer reads its source. */
  async idle(): Promise<void> {
    await this.#ran;
  }

  /** Waits until the index contains `txId`, the feed has ended, `signal` is aborted, or `ms` have passed. */
  async arrival(txId: TxId, ms: number, signal: AbortSignal | undefined): Promise<void> {
    const isOver = (): boolean =>
      this.source.position.txId >= txId || this.#end !== undefined || signal?.aborted === true;
    if (isOver()) return;
    const { promise, resolve } = resolvable();
    const arrived = (): void => {
      if (isOver()) resolve();
    };
    this.#arrivals.add(arrived);
    signal?.addEventListener("abort", resolve);
    await withTimeout(promise, ms);
    this.#arrivals.delete(arrived);
    signal?.removeEventListener("abort", resolve);
  }

  /**
   * Subscribes to everything after `place`, which must not be beyond the index. Returns undefined if it is older than
   * the recent past, or if more than a page of it follows: the caller first uses {@link recent}, or reads the past.
   */
  subscribe(filter: WatchFilter, place: WatchedPosition): Subscription | undefined {
    const after = place.txId;
    if (!this.#running) {
      // The first watcher reads the past itself until it is close to the end, so that no later one waits for the feed.
      if (this.source.position.txId - after > this.#bounds.pageTransactions) return undefined;
      this.#begin(place);
    }
    if (after < this.#recent.after) return undefined;
    const { events, bytes, more } = this.#recent.page(filter, after);
    if (more) return undefined;
    const end = this.source.position.txId;
    const subscription = new Subscription(end, this.#bounds.queue, (closed) => {
      this.#router.remove(filter, closed);
      if (this.#router.size === 0) this.#wake?.();
    });
    if (events.length > 0) subscription.push({ events, end: this.position, bytes });
    this.#router.add(filter, subscription);
    return subscription;
  }

  /** Returns a page after `after` if more than one is kept. A watcher of pages has no queue: it is never too slow. */
  recent(filter: WatchFilter, after: TxId): ChangesPage | undefined {
    if (!this.#running || after < this.#recent.after) return undefined;
    const { events: transactions, bytes, more } = this.#recent.page(filter, after);
    return more ? { transactions, end: transactions.at(-1), bytes } : undefined;
  }

  #begin(place: WatchedPosition): void {
    this.#recent.forget(place.txId);
    this.position = place;
    this.#running = true;
    this.#ran = this.#run().catch((error: unknown) => {
      const known = asCairnError(error);
      this.listener.failed(known);
      this.end({ reason: "not-ready", message: known.message });
    });
  }

  async #run(): Promise<void> {
    const forget = this.source.keepApplied();
    // The feed yields first, so that the caller that began it can subscribe.
    await yieldToEventLoop();
    try {
      while (this.#end === undefined && this.#router.size > 0) {
        if (this.source.position.txId <= this.position.txId) {
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
          continue;
        }
        const page = await this.#next();
        if (page === undefined) break;
        await this.#publish(page);
      }
    } finally {
      forget();
      this.#running = false;
      this.#recent.forget(this.position.txId);
    }
    if (this.#end !== undefined) return;
    // The next changes were removed. Each watcher finds out whether that affects it, and restarts the feed if not.
    for (const subscription of this.#router.subscriptions()) subscription.lose("reread");
  }

  /** Reads the next page; undefined if its changes were removed. */
  async #next(): Promise<ChangesPage | undefined> {
    const { pageTransactions: maxTransactions, pageBytes: maxBytes } = this.#bounds;
    const query = { after: this.position.txId, maxTransactions, maxBytes };
    const applied = this.source.applied(query);
    if (applied !== undefined) return applied;
    try {
      return await this.source.newest(query);
    } catch (error) {
      if (error instanceof WatchCompactedError) return undefined;
      throw error;
    }
  }

  async #publish(page: ChangesPage): Promise<void> {
    // Nothing may be published from an index that the node has left.
    if (this.#end !== undefined) return;
    const begunAt = performance.now();
    this.position = page.end ?? this.position;
    this.#remember(page);
    const bytes = this.#router.publish(page, this.position);
    // Watchers can write their events before the feed continues.
    await yieldToEventLoop();
    await pauseAfter(performance.now() - begunAt);
    // Readers that keep up have then had turns for all bytes: none is cut off because the node delays its events.
    for (let rest = bytes; rest > WRITE_BYTES; rest -= WRITE_BYTES) await WRITE_TURNS.take();
  }

  #remember({ transactions }: ChangesPage): void {
    if (!transactions.some(({ changes }) => changes.some(({ op }) => op === "evict"))) {
      this.#recent.add(transactions);
      return;
    }
    // Evicted content must no longer be delivered, not even to watchers that have not read earlier changes yet.
    this.#recent.forget(this.position.txId);
    for (const subscription of this.#router.subscriptions())
      if (subscription.waiting > 0) subscription.lose("reread");
  }
}

/** Returns the last transaction of an index. Its time is null if the index has no transaction. */
export function endOfSource({ position }: WatchSource): WatchedPosition {
  return watchedPosition(position);
}

export function watchedPosition({ txId, time, mark }: WatchSource["position"]): WatchedPosition {
  return { txId, txTime: txId === 0 ? null : isoTime(time), position: formatPosition({ txId, mark }) };
}
