import type { TxId } from "@cairn/client";
import { changesBytes, type TransactionEvent } from "../index/read/transaction-event.ts";
import { filtered, filterKey, type WatchFilter } from "./watch-router.ts";

/** How much of the recent past is kept, and how much of it is given at once. */
export interface RecentBounds {
  readonly recentTransactions: number;
  readonly recentBytes: number;
  /** About how many bytes; one transaction is given whole, however large it is. */
  readonly recentPageBytes: number;
}

/** Some of the recent past, as watchers of the same changes see it. */
export interface RecentPage {
  readonly events: readonly TransactionEvent[];
  readonly bytes: number;
  /** Everything up to here is in it or was before, when there is more behind it. */
  readonly upTo: TxId;
  readonly txTime: string | null;
  readonly more: boolean;
}

/** About as many as the recent past itself has: the text of each is kept with it. */
const SHARED_PAGES = 64;

/**
 * The last changes of an index, for those who come or come back. They are given in pages, so that a thousand who come back at once hold
 * a page each and not all of it, and the same page where they stand at the same place.
 */
export class RecentPast {
  readonly #bounds: RecentBounds;
  #events: TransactionEvent[] = [];
  #bytes = 0;
  #after: TxId = 0;
  /** Full pages only: what is added later changes nothing about them. */
  readonly #pages = new Map<string, RecentPage>();

  constructor(bounds: RecentBounds) {
    this.#bounds = bounds;
  }

  /** All changes after it are here. */
  get after(): TxId {
    return this.#after;
  }

  /** Forgets everything up to `after`. */
  forget(after: TxId): void {
    this.#events = [];
    this.#bytes = 0;
    this.#after = after;
    this.#pages.clear();
  }

  /** Adds what comes next, and drops the oldest of what is too much. */
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
      this.#after = oldest.txId;
      dropped += 1;
    }
    if (dropped > 0) this.#events.splice(0, dropped);
  }

  /** What comes after `after`, not before {@link after}. */
  page(filter: WatchFilter, after: TxId): RecentPage {
    const key = `${after} ${filterKey(filter)}`;
    const known = this.#pages.get(key);
    if (known !== undefined) return known;
    const page = this.#read(filter, after);
    if (!page.more) return page;
    this.#pages.set(key, page);
    const [oldest] = this.#pages.keys();
    if (this.#pages.size > SHARED_PAGES && oldest !== undefined) this.#pages.delete(oldest);
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
    const last = events.at(-1);
    return { events, bytes, upTo: last?.txId ?? after, txTime: last?.txTime ?? null, more };
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
