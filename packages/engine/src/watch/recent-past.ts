import type { TxId } from "@cairn/client";
import { changesBytes, type TransactionEvent } from "../index/read/transaction-event.ts";
import type { Batch } from "./subscription.ts";
import { filtered, filterKey, type WatchFilter } from "./watch-router.ts";

export interface RecentBounds {
  readonly recentTransactions: number;
  readonly recentBytes: number;
  /** Approximate. A page contains at least one whole transaction, no matter how large it is. */
  readonly recentPageBytes: number;
}

/** A page of the recent past, complete up to its last transaction. */
interface RecentPage extends Omit<Batch, "end"> {
  readonly more: boolean;
}

/** The maximum number of shared pages, about as many as the recent past has. They keep the JSON of their events. */
const MAX_SHARED_PAGES = 64;

/**
 * The most recent changes of an index, for watchers that reconnect. They are delivered in pages, so even a thousand
 * watchers hold only one page each, shared by those at the same position.
 */
export class RecentPast {
  readonly #bounds: RecentBounds;
  #events: TransactionEvent[] = [];
  #bytes = 0;
  /** The transaction after which all changes are kept. */
  after: TxId = 0;
  /** The shared pages. Only full pages are shared, because they do not change when changes are added. */
  readonly #pages = new Map<string, RecentPage>();

  constructor(bounds: RecentBounds) {
    this.#bounds = bounds;
  }

  /** Drops everything. The changes that are added next must follow `after`. */
  forget(after: TxId): void {
    this.#events = [];
    this.#bytes = 0;
    this.after = after;
    this.#pages.clear();
  }

  add(events: readonly TransactionEvent[]): void {
    for (const event of events) {
      this.#events.push(event);
      this.#bytes += changesBytes(event.changes);
    }
    const { recentTransactions, recentBytes } = this.#bounds;
    let dropped = 0;
    while (this.#events.length - dropped > recentTransactions || this.#bytes > recentBytes) {
      const oldest = this.#events[dropped];
      if (oldest === undefined) break;
      this.#bytes -= changesBytes(oldest.changes);
      this.after = oldest.txId;
      dropped += 1;
    }
    if (dropped > 0) this.#events.splice(0, dropped);
  }

  /** Returns the first page after `after`, which must not be before {@link after}. */
  page(filter: WatchFilter, after: TxId): RecentPage {
    const key = `${after} ${filterKey(filter)}`;
    const known = this.#pages.get(key);
    if (known !== undefined) return known;
    const page = this.#read(filter, after);
    if (!page.more) return page;
    this.#pages.set(key, page);
    const [oldest] = this.#pages.keys();
    if (this.#pages.size > MAX_SHARED_PAGES && oldest !== undefined) this.#pages.delete(oldest);
    return page;
  }

  #read(filter: WatchFilter, after: TxId): RecentPage {
    const events: TransactionEvent[] = [];
    let bytes = 0;
    let more = false;
    for (let at = this.#firstAfter(after); at < this.#events.length; at += 1) {
      const whole = this.#events[at];
      const event = whole === undefined ? undefined : filtered(whole, filter);
      if (event === undefined) continue;
      more = bytes >= this.#bounds.recentPageBytes;
      if (more) break;
      events.push(event);
      bytes += changesBytes(event.changes);
    }
    return { events, bytes, more };
  }

  #firstAfter(txId: TxId): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#events[middle]?.txId ?? 0) <= txId) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
