import { eventsMemory } from "../index/read/transaction-event.ts";

/** The memory for the events of all watchers together from which on none is read for them from the past (bytes). */
const MAX_BYTES = 128 * 1024 * 1024;
/** The time after which a watcher that takes nothing of its events loses them if the memory is full (ms). */
const SLOW_AFTER_MS = 10_000;
const CHECK_INTERVAL_MS = 500;

export interface PageHolder {
  /**
   * The time since which it could have taken more of them, and has not: undefined while it waits for the node, and
   * -Infinity once it has been cut off.
   */
  readonly stalledSince: number | undefined;
  /** Called when the memory is needed. The events no longer count. */
  drop(): void;
}

interface Page {
  readonly transactions: Parameters<typeof eventsMemory>[0];
}

/**
 * The memory for the events that watchers were given and have not taken yet. While it is full, no page of the past is
 * read. The size of a page is known only once it has been read, so each read in progress may exceed the maximum by its
 * page; a page of any size can be read when nothing else is held. New events do not wait: their number is bounded by the
 * queues of their watchers. While it is full, watchers that have been cut off, or have taken nothing for 10 s, are dropped.
 */
export class PageMemory {
  readonly #maxBytes: number;
  #bytes = 0;
  /** By their events, which several watchers share. */
  readonly #pages = new Map<
    Page["transactions"],
    { readonly bytes: number; readonly holders: Set<PageHolder> }
  >();
  readonly #held = new Map<PageHolder, Page["transactions"]>();
  readonly #waiting = new Set<() => void>();
  #check: NodeJS.Timeout | undefined;

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** Counts a page until all of its holders have released it. A holder has one page at most, the last one. */
  hold(holder: PageHolder, { transactions }: Page): void {
    if (this.#held.get(holder) === transactions) return;
    this.release(holder);
    let page = this.#pages.get(transactions);
    if (page === undefined) {
      page = { bytes: eventsMemory(transactions), holders: new Set() };
      this.#pages.set(transactions, page);
      this.#bytes += page.bytes;
    }
    page.holders.add(holder);
    this.#held.set(holder, transactions);
    if (this.isFull) this.#check ??= setInterval(() => this.#dropSlow(), CHECK_INTERVAL_MS);
  }

  /** Does nothing for a watcher that has no page. */
  release(holder: PageHolder): void {
    const events = this.#held.get(holder);
    const page = events && this.#pages.get(events);
    if (events === undefined || page === undefined) return;
    this.#held.delete(holder);
    page.holders.delete(holder);
    if (page.holders.size > 0) return;
    this.#pages.delete(events);
    this.#bytes -= page.bytes;
    if (this.isFull) return;
    clearInterval(this.#check);
    this.#check = undefined;
    this.#wake();
  }

  /** To be called while it is full. Calls `retry` once: when there is room, or earlier, to drop what no longer waits. */
  wait(retry: () => void): void {
    this.#waiting.add(retry);
  }

  #dropSlow(): void {
    const slowSince = performance.now() - SLOW_AFTER_MS;
    for (const holder of this.#held.keys()) {
      if ((holder.stalledSince ?? Number.POSITIVE_INFINITY) > slowSince) continue;
      this.release(holder);
      holder.drop();
    }
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const retry of waiting) retry();
  }
}

/** All nodes of a thread share it, and so do the indexes that a node has one after the other. */
export const PAGE_MEMORY = new PageMemory();
