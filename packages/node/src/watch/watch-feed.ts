import { setImmediate as nextTurn } from "node:timers/promises";
import type { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { asCairnError } from "../observe/failures.ts";
import type { ChangesPage } from "../index/read/transaction-changes.ts";
import { isoTime } from "../text/iso-time.ts";
import { type RecentBounds, RecentPast } from "./recent-past.ts";
import { restAfter } from "./rest.ts";
import { type QueueBounds, Subscription } from "./subscription.ts";
import { type CutoffReason } from "./watch-event.ts";
import { WatchCompactedError } from "../index/read/watch-compacted.ts";
import { type WatchFilter, WatchRouter } from "./watch-router.ts";
import type { WatchSource } from "./watch-source.ts";

/** Bounds of a feed. */
export interface FeedBounds extends RecentBounds {
  readonly queue: QueueBounds;
  /** What is read at once. */
  readonly pageTransactions: number;
  readonly pageBytes: number;
}

/** 1,000 watchers who all stand still hold about one queue's bytes together: what waits for them is the same recent past. */
export const FEED_BOUNDS: FeedBounds = {
  queue: { bytes: 4 * 1024 * 1024, batches: 4_096 },
  recentTransactions: 8_192,
  recentBytes: 4 * 1024 * 1024,
  recentPageBytes: 64 * 1024,
  pageTransactions: 1_000,
  pageBytes: 1024 * 1024,
};

/** Who is told of a feed's watchers. */
export interface FeedListener {
  opened(): void;
  closed(): void;
  cutOff(reason: CutoffReason): void;
  /** Why the feed had to end by itself. */
  failed(error: CairnError): void;
}

/** Why a feed ended. */
export interface FeedEnd {
  readonly reason: CutoffReason;
  readonly message: string;
}

/**
 * The changes of one index as they come, for all who watch it. It reads the index's own rows, once for all watchers, behind the
 * indexing and never in its way; while nobody watches it does nothing at all.
 */
export class WatchFeed {
  readonly source: WatchSource;
  readonly listener: FeedListener;
  readonly #bounds: FeedBounds;
  readonly #router = new WatchRouter();
  /** Watchers who wait for a transaction that is still to come. */
  readonly #arrivals = new Set<() => void>();
  /** Up to `#position`. */
  readonly #recent: RecentPast;
  #position: TxId = 0;
  #positionTime: string | null = null;
  /** Whether pages are read and published; while not, nothing is known of the recent past. */
  #running = false;
  #wake: (() => void) | undefined;
  #end: FeedEnd | undefined;

  constructor(source: WatchSource, listener: FeedListener, bounds: FeedBounds = FEED_BOUNDS) {
    this.source = source;
    this.listener = listener;
    this.#bounds = bounds;
    this.#recent = new RecentPast(bounds);
  }

  /** Why it ended, once it did. */
  get ended(): FeedEnd | undefined {
    return this.#end;
  }

  /** Up to where subscribers were told. */
  get position(): { readonly txId: TxId; readonly txTime: string | null } {
    return { txId: this.#position, txTime: this.#positionTime };
  }

  /** How many were told everything up to {@link position}; others are still reading the past. */
  get watchers(): number {
    return this.#router.size;
  }

  /** The index has more. Called for every batch that is applied, so it does next to nothing. */
  advanced(): void {
    this.#wake?.();
    if (this.#arrivals.size > 0) for (const arrived of this.#arrivals) arrived();
  }

  /** Ends all watches. What was published before is still told. */
  end(end: FeedEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#wake?.();
    for (const subscription of this.#router.subscriptions()) subscription.wake();
    for (const arrived of this.#arrivals) arrived();
  }

  /** Waits until the index has `txId`, the feed ends, or `ms` have passed. */
  async arrival(txId: TxId, ms: number, signal: AbortSignal | undefined): Promise<void> {
    const isOver = (): boolean =>
      this.source.position.txId >= txId || this.#end !== undefined || signal?.aborted === true;
    if (isOver()) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#arrivals.delete(arrived);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const arrived = (): void => {
        if (isOver()) done();
      };
      const timer = setTimeout(done, ms);
      this.#arrivals.add(arrived);
      signal?.addEventListener("abort", done);
    });
  }

  /**
   * Everything after `after`, then what comes; undefined when that is longer ago than what is kept, or more than a page of it: then the
   * caller takes {@link recent} or reads by itself, and asks again. Not for what the index does not have yet.
   */
  subscribe(filter: WatchFilter, after: TxId): Subscription | undefined {
    if (!this.#running) {
      if (!this.#canBegin(after)) return undefined;
      this.#begin(after);
    }
    if (after < this.#recent.after) return undefined;
    const { events, bytes, more } = this.#recent.page(filter, after);
    if (more) return undefined;
    const subscription = new Subscription(this.#bounds.queue, (closed) => this.#unsubscribe(filter, closed));
    if (events.length > 0) {
      subscription.push({ events, upTo: this.#position, txTime: this.#positionTime, bytes });
    }
    this.#router.add(filter, subscription);
    return subscription;
  }

  /**
   * A page of what comes after `after`, where more than one is kept of it. Nothing is kept for whoever takes it page by page, and so it
   * is never too slow.
   */
  recent(filter: WatchFilter, after: TxId): ChangesPage | undefined {
    if (!this.#running || after < this.#recent.after) return undefined;
    const { events: transactions, more, ...page } = this.#recent.page(filter, after);
    return more ? { transactions, ...page } : undefined;
  }

  /** A first watcher reads up to near the end by itself: the feed begins where it stands, or somebody else would wait for it. */
  #canBegin(after: TxId): boolean {
    return this.source.position.txId - after <= this.#bounds.pageTransactions;
  }

  #begin(after: TxId): void {
    this.#recent.forget(after);
    this.#position = after;
    this.#positionTime = null;
    this.#running = true;
    void this.#run().catch((error: unknown) => {
      const known = asCairnError(error);
      this.listener.failed(known);
      this.end({ reason: "not-ready", message: known.message });
    });
  }

  #unsubscribe(filter: WatchFilter, subscription: Subscription): void {
    this.#router.remove(filter, subscription);
    if (this.#router.size === 0) this.#wake?.();
  }

  async #run(): Promise<void> {
    // A first turn, so that whoever began it is subscribed.
    await nextTurn();
    try {
      while (this.#end === undefined && this.#router.size > 0) {
        if (this.source.position.txId <= this.#position) {
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
          continue;
        }
        const page = await this.#next();
        if (page === undefined) break;
        await this.#publish(page);
      }
    } finally {
      this.#running = false;
      this.#recent.forget(this.#position);
    }
    if (this.#end !== undefined) return;
    // Behind what is still there: each watcher finds out by itself whether that concerns it, and begins the feed anew if not.
    for (const subscription of this.#router.subscriptions()) subscription.lose("reread");
  }

  /** Undefined where what comes next is gone. */
  async #next(): Promise<ChangesPage | undefined> {
    const { pageTransactions: maxTransactions, pageBytes: maxBytes } = this.#bounds;
    try {
      return await this.source.newest({ after: this.#position, maxTransactions, maxBytes });
    } catch (error) {
      if (error instanceof WatchCompactedError) return undefined;
      throw error;
    }
  }

  async #publish(page: ChangesPage): Promise<void> {
    // An index that the node has left is nothing to tell of any more.
    if (this.#end !== undefined) return;
    const begunAt = performance.now();
    this.#position = page.upTo;
    this.#positionTime = page.txTime;
    this.#remember(page);
    this.#router.publish(page);
    // Within this turn the watchers write what they were given.
    await nextTurn();
    await restAfter(performance.now() - begunAt);
  }

  #remember({ transactions, upTo }: ChangesPage): void {
    if (!transactions.some(({ changes }) => changes.some(({ op }) => op === "evict"))) {
      this.#recent.add(transactions);
      return;
    }
    // What was evicted is told no more, also not to those who have yet to read what came before.
    this.#recent.forget(upTo);
    for (const subscription of this.#router.subscriptions())
      if (subscription.waiting > 0) subscription.lose("reread");
  }
}

/** The time of an index's last transaction, as it is told. */
export function timeOf({ txId, time }: WatchSource["position"]): string | null {
  return txId === 0 ? null : isoTime(time);
}
