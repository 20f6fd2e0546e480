import type { QueueEntry } from "../types/queues.ts";
import type { Json, TxId } from "../types/transaction.ts";
import { dueAt, isFinished, isSuspect } from "./entry-rules.ts";
import type { DirectedQueue } from "./queue-access.ts";
import { wait } from "../types/timing.ts";

const PAGE = 100;
/** The maximum number of entries that wait for their next attempt in memory. Others are read again when they are due. */
const MAX_WAITING = 10_000;
/** The number of pages after which reading begins again with the oldest entry, if some may have been passed over. */
const MAX_PAGES_ONWARD = 10;
/** The maximum number of changes that are remembered while pages are read. */
const MAX_CHANGES = 1_000;
/** The pause after a page that could not be read. */
const UNREAD_PAUSE_MS = 2_000;

/** A change of an entry by a transaction: its new document, or undefined if it was removed. */
export interface Change {
  readonly name: string;
  readonly revision: TxId;
  readonly document: Json | undefined;
  /** Whether the transaction moved the entry here, so that an earlier one created it. */
  readonly isMoved: boolean;
}

/** How much of the list of open entries has been read, which is in the order of their creation. */
type Progress =
  /** Any entry may be missing from the collections, so the oldest page is read next. */
  | { readonly mode: "unread" }
  /** Pages are being read, which may lack these changes, and contain what has ended, as it was before. */
  | { readonly mode: "reading"; readonly changes: Change[]; readonly ended: Set<string>; hasGaps: boolean }
  /** Entries from the page at `next` on are missing and, if `isPassedOver`, perhaps some before it. */
  | { readonly mode: "partial"; readonly next: string; readonly pages: Pages; isPassedOver: boolean }
  /** All entries are in the collections, except those that were moved here between the first page and the last one. */
  | { readonly mode: "complete"; readonly pages: Pages };

/** The pages since the oldest entry: their number, and the transactions as of which the first and the last were read. */
interface Pages {
  readonly count: number;
  readonly first: TxId;
  readonly last: TxId;
}

/**
 * The open entries of a held shard: ready to be handed out, in hand, or waiting for their next attempt.
 *
 *    unread ──▶ reading ──▶ complete       {@link take} reads pages while few entries are ready.
 *       ▲       │     ▲
 *       │       ▼     │                    {@link readAgain} leads to unread from everywhere: an entry is due again,
 *       └────── partial                    its turn is unknown, there are too many, or changes may have been missed.
 */
export class OpenEntries {
  readonly #queue: DirectedQueue;
  readonly #shard: number;
  /** Aborted when the shard is lost. */
  readonly #signal: AbortSignal;
  readonly #ready = new Map<string, QueueEntry>();
  /**
   * The entries in hand. Each has a signal of its own, because handlers add listeners to them: with one for all, Node
   * would warn of a leak.
   */
  readonly inHand = new Map<string, AbortController>();
  /** When the waiting entries are due (ms since 1970). */
  readonly #waiting = new Map<string, number>();
  /** The earliest of these times, and of those of entries that were too many to remember; Infinity if none waits. */
  dueAt = Infinity;
  #progress: Progress = { mode: "unread" };

  constructor(queue: DirectedQueue, shard: number, signal: AbortSignal) {
    this.#queue = queue;
    this.#shard = shard;
    this.#signal = signal;
  }

  /** Takes the next entry in hand, which may be a suspect or not; undefined if none is ready. */
  take(suspects: boolean): { readonly entry: QueueEntry; readonly signal: AbortSignal } | undefined {
    const entry = [...this.#ready.values()].find((one) => suspects || !isSuspect(one.document));
    if (this.#ready.size <= this.#queue.ahead / 2) void this.#read();
    if (entry === undefined) return undefined;
    const { name } = entry;
    this.#ready.delete(name);
    const ending = new AbortController();
    this.inHand.set(name, ending);
    return { entry, signal: ending.signal };
  }

  /** Takes note that an entry is no longer in hand, and is due again at this time; Infinity if it is finished. */
  ended(name: string, again: number): void {
    if (this.#progress.mode === "reading") this.#progress.ended.add(name);
    this.inHand.delete(name);
    this.#waitUntil(name, again);
  }

  /** Has the due entries read again. */
  wake(now: number): void {
    if (this.dueAt > now) return;
    this.dueAt = Infinity;
    for (const [name, at] of this.#waiting) {
      if (at <= now) this.#waiting.delete(name);
      else this.dueAt = Math.min(this.dueAt, at);
    }
    this.readAgain();
  }

  /** Has the list read from the oldest entry on, because entries may be missing from the collections. */
  readAgain(): void {
    if (this.#progress.mode === "reading") this.#progress.hasGaps = true;
    else this.#progress = { mode: "unread" };
    this.#queue.bell.ring();
  }

  /** Forgets what is ready, because changes may have been missed. */
  forget(): void {
    this.#ready.clear();
    this.readAgain();
  }

  /**
   * Takes note of a change of the shard's entries. While older entries are unread, a new one waits to be read in its
   * turn; otherwise, entries would be handled in any order, and some of them never, while more come in than can be
   * handled. One that was moved here is always read, because only its place says which transaction created it.
   */
  changed(change: Change): void {
    const { name, revision, document, isMoved } = change;
    if (this.inHand.has(name) || this.#waiting.has(name)) return;
    const known = this.#ready.get(name);
    if (known !== undefined && known.revision >= revision) return;
    const isOpen = document !== undefined && !isFinished(document, this.#queue.policy);
    if (known !== undefined && isOpen) return this.#add({ ...known, revision, document });
    this.#ready.delete(name);
    const progress = this.#progress;
    if (progress.mode === "reading") {
      if (progress.changes.length < MAX_CHANGES) progress.changes.push(change);
      else progress.hasGaps = true;
    } else if (isOpen && progress.mode === "partial") progress.isPassedOver = true;
    else if (isOpen && progress.mode === "complete") {
      if (revision > progress.pages.last && !isMoved)
        this.#add({ shard: this.#shard, name, revision, document, createdTx: revision });
      else if (revision > progress.pages.first) this.readAgain();
    }
    this.#queue.bell.ring();
  }

  #add(entry: QueueEntry): void {
    const { name, document } = entry;
    const at = dueAt(document);
    if (at > this.#queue.now()) {
      this.#ready.delete(name);
      this.#waitUntil(name, at);
    } else if (this.#ready.has(name) || this.#ready.size < 2 * this.#queue.ahead + PAGE)
      this.#ready.set(name, entry);
    else this.readAgain();
  }

  /**
   * Reads open entries until enough are ready: onward from the last page, or from the oldest one. Finished entries leave
   * the list, so this reads little besides what is in hand or waiting.
   */
  async #read(): Promise<void> {
    const before = this.#progress;
    if (before.mode === "reading" || before.mode === "complete") return;
    const { access, name: queue, ahead, bell, onError } = this.#queue;
    const reading: Progress = { mode: "reading", changes: [], ended: new Set(), hasGaps: false };
    this.#progress = reading;
    let [next, pages, isPassedOver]: [string | undefined, Pages | undefined, boolean] =
      before.mode === "partial" && !(before.isPassedOver && before.pages.count >= MAX_PAGES_ONWARD)
        ? [before.next, before.pages, before.isPassedOver]
        : [undefined, undefined, false];
    try {
      do {
        const query = { queue, shard: this.#shard, limit: PAGE, cursor: next };
        const page = await access.openEntries(query, this.#signal);
        const { count, first }: Pages = pages ?? { count: 0, first: page.txId, last: page.txId };
        pages = { count: count + 1, first, last: page.txId };
        const known = [this.#ready, this.inHand, this.#waiting, reading.ended];
        for (const entry of page.entries)
          if (known.every((names) => !names.has(entry.name))) this.#add(entry);
        next = page.next;
        bell.ring();
      } while (next !== undefined && this.#ready.size < ahead && !this.#signal.aborted);
    } catch (error) {
      reading.hasGaps = true;
      if (!this.#signal.aborted) onError(error);
      await wait(UNREAD_PAUSE_MS, this.#signal);
    }
    if (reading.hasGaps || pages === undefined || (next === undefined && isPassedOver))
      this.#progress = { mode: "unread" };
    else if (next === undefined) this.#progress = { mode: "complete", pages };
    else this.#progress = { mode: "partial", next, pages, isPassedOver };
    for (const change of reading.changes) this.changed(change);
    bell.ring();
  }

  #waitUntil(name: string, at: number): void {
    if (at < Infinity && this.#waiting.size < MAX_WAITING) this.#waiting.set(name, at);
    this.dueAt = Math.min(this.dueAt, at);
    this.#queue.bell.ring();
  }
}
