import type { QueuePolicy } from "../types/policies.ts";
import type { QueueEntry } from "../types/queues.ts";
import type { Json, TxId, TxOperation } from "../types/transaction.ts";
import { codeOf, type Hold, holdOf, holds, type QueueAccess, transactUntil } from "./queue-access.ts";
import { dueAt, durationMs, failed, isFinished } from "./entry-rules.ts";
import { pause, runAfter } from "../types/timing.ts";
import { Bell } from "./bell.ts";

const PAGE = 100;
/** The maximum number of entries in one transaction, and the maximum number of characters of their documents. */
const MAX_BATCH = 256;
const MAX_BATCH_CHARACTERS = 262_144;
/** The maximum number of entries that wait for their next attempt in memory. Others are read again when they are due. */
const MAX_WAITING = 10_000;
/** The number of pages after which a reading begins again with the oldest entry, if some may have been passed over. */
const MAX_PAGES_ONWARD = 10;
/** The maximum number of changes that are remembered while a page is read. */
const MAX_READ_BESIDE = 1_000;
/** The pause after a page that could not be read. */
const UNREAD_PAUSE_MS = 2_000;
/** The pause before an entry is handed out again whose document does not say when it is due. */
const AGAIN_PAUSE_MS = 1_000;
/** The pause before an entry is handed out again of which nothing can be written: it will fail again. */
const UNWRITABLE_PAUSE_MS = 300_000;

/** What happened to an entry in hand: its new document. */
interface End {
  readonly entry: QueueEntry;
  readonly document: Json;
}

/** A change of an entry by a transaction: its new document, or undefined if it was removed. */
export interface Change {
  readonly name: string;
  readonly revision: TxId;
  readonly document: Json | undefined;
  /** Whether the transaction moved the entry here, so that an earlier one created it. */
  readonly isMoved: boolean;
}

export interface Claim extends Hold {
  /** The time (by `performance.now()`) before the claim was sent, from which the lease is counted. */
  readonly sentAt: number;
  readonly policy: QueuePolicy;
}

export interface ShardParts {
  readonly access: QueueAccess;
  readonly queue: string;
  /** The number of entries to have ready. */
  readonly ahead: number;
  /** Called when there are entries to hand out, or one fewer in hand. */
  readonly onChange: () => void;
  readonly onError: (error: Error, entry?: QueueEntry) => void;
}

/**
 * A shard that this director has claimed: its lease, its entries that are ready, waiting or in hand, and the ends to be
 * written. It is lost when its lease has ended by this machine's clock, or when a write shows that its epoch is not the
 * newest any more; then nothing more of it is written.
 */
export class HeldShard implements Hold {
  readonly shard: number;
  readonly epoch: TxId;
  readonly as: string;
  /** Aborted when the shard is lost or given back, with the reason. */
  readonly #ending = new AbortController();
  readonly #parts: ShardParts;
  #heldAt = 0;
  #cancelLeaseTimer: (() => void) | undefined;
  readonly #ready = new Map<string, QueueEntry>();
  /**
   * The entries in hand. Each has a signal of its own, because handlers add listeners to them: with one for all, Node
   * would warn of a leak.
   */
  readonly #inHand = new Map<string, AbortController>();
  /** When the entries that failed are due. */
  readonly #waiting = new Map<string, number>();
  /** The earliest of these times, and of those of entries that were too many to remember. */
  #dueAt = Infinity;
  /** The cursor of the next page of open entries; undefined if the last one was read. */
  #next: string | undefined;
  /** Whether entries may be open before the next page that are neither ready nor in hand nor waiting. */
  #hasGaps = true;
  /** Whether an entry changed that may be before the next page, or in one of the pages to come. */
  #isPassedOver = false;
  /** The number of pages since the oldest entry. */
  #pages = 0;
  /**
   * The transactions as of which the first and the last page were read. What changed up to the first is in the pages; an
   * entry that was moved here between the two may be missing.
   */
  #readFrom = 0;
  #readUpTo = Infinity;
  #reading: Promise<void> | undefined;
  /** The changes since the current reading began, which its pages may not contain. */
  #changedWhileReading: Change[] = [];
  /** The entries that ended since the current reading began, whose pages may still contain them as they were. */
  readonly #endedWhileReading = new Set<string>();
  #ends: End[] = [];
  #isWriting = false;
  readonly #changed = new Bell();
  /** True if no further entries are handed out. */
  isPaused = false;
  /** The policy of the queue, which the director replaces by a newer one. */
  policy: QueuePolicy;

  constructor(parts: ShardParts, claim: Claim) {
    this.#parts = parts;
    this.shard = claim.shard;
    this.epoch = claim.epoch;
    this.as = claim.as;
    this.policy = claim.policy;
    this.held(claim.sentAt);
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** The time (by `performance.now()`) before the claim or the last renewal was sent. */
  get heldAt(): number {
    return this.#heldAt;
  }

  /** Extends the lease, which was renewed by a transaction that was sent at `sentAt`. */
  held(sentAt: number): void {
    this.#cancelLeaseTimer?.();
    this.#heldAt = sentAt;
    const left = sentAt + durationMs(this.policy.lease) - performance.now();
    if (left <= 0) this.lose("its lease has ended");
    else this.#cancelLeaseTimer = runAfter(left, () => this.lose("its lease has ended"));
  }

  /** Gives the shard up at once: aborts the signals of its handlers, and writes nothing more. */
  lose(because: string): void {
    this.#cancelLeaseTimer?.();
    if (this.signal.aborted) return;
    const reason = new Error(`Shard ${this.shard} of ${this.#parts.queue} was given up: ${because}.`);
    this.#ending.abort(reason);
    for (const ending of this.#inHand.values()) ending.abort(reason);
    this.#changed.ring();
    this.#parts.onChange();
  }

  /** Returns the next entry to handle; undefined if there is none now. It is in hand until {@link end}. */
  take(): { readonly entry: QueueEntry; readonly signal: AbortSignal } | undefined {
    if (this.isPaused || this.signal.aborted) return undefined;
    const [first] = this.#ready;
    if (this.#ready.size <= this.#parts.ahead / 2) this.#readMore();
    if (first === undefined) return undefined;
    const [name, entry] = first;
    this.#ready.delete(name);
    const ending = new AbortController();
    this.#inHand.set(name, ending);
    return { entry, signal: ending.signal };
  }

  /**
   * Writes the new document of an entry in hand. If it is undefined, the entry stays as it is, and is handed out again
   * after a pause.
   */
  end(entry: QueueEntry, document: Json | undefined): void {
    if (document === undefined || this.signal.aborted) {
      this.#inHand.delete(entry.name);
      this.#pause(entry.name);
      this.#changed.ring();
      return;
    }
    this.#ends.push({ entry, document });
    if (!this.#isWriting) void this.#write();
  }

  /**
   * Takes note of a change of the shard's entries. While older entries are unread, a new one waits to be read in its
   * turn; otherwise, entries would be handled in any order, and some of them never, while more come in than can be
   * handled. One that was moved here is always read, because only its place says which transaction created it.
   */
  changed(change: Change): void {
    const { name, revision, document, isMoved } = change;
    if (this.#inHand.has(name) || this.#waiting.has(name)) return;
    const known = this.#ready.get(name);
    if (known !== undefined && known.revision >= revision) return;
    const isOpen = document !== undefined && !isFinished(document, this.policy);
    if (known !== undefined && isOpen) {
      this.#add({ ...known, revision, document });
      return;
    }
    this.#ready.delete(name);
    if (this.#reading !== undefined) {
      if (this.#changedWhileReading.length < MAX_READ_BESIDE) this.#changedWhileReading.push(change);
      else this.#hasGaps = true;
      return;
    }
    if (!isOpen) return;
    if (this.#isUnread) this.#isPassedOver = true;
    else if (revision > this.#readUpTo && !isMoved) {
      this.#add({ shard: this.shard, name, revision, document, createdTx: revision });
    } else if (revision > this.#readFrom) this.#hasGaps = true;
    this.#parts.onChange();
  }

  /** Forgets what was read, because changes may have been missed. */
  readAgain(): void {
    this.#ready.clear();
    this.#hasGaps = true;
    this.#parts.onChange();
  }

  /**
   * Resolves once no entry is in hand and all ends are written, or the shard is lost: with true. Resolves with false if
   * `patience` is aborted before that.
   */
  async idle(patience: AbortSignal): Promise<boolean> {
    const impatient = (): void => this.#changed.ring();
    patience.addEventListener("abort", impatient);
    while (this.#inHand.size > 0 && !this.signal.aborted && !patience.aborted) await this.#changed.next;
    patience.removeEventListener("abort", impatient);
    return this.#inHand.size === 0 || this.signal.aborted;
  }

  /** The time at which the next waiting entry is due (ms since 1970); Infinity if none waits. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** Has the entries read again that are due. */
  wake(now: number): void {
    if (this.#dueAt > now) return;
    this.#dueAt = Infinity;
    for (const [name, at] of this.#waiting) {
      if (at <= now) this.#waiting.delete(name);
      else this.#dueAt = Math.min(this.#dueAt, at);
    }
    this.#hasGaps = true;
    this.#parts.onChange();
  }

  #readMore(): void {
    if (!this.#isUnread || this.#reading !== undefined || this.isPaused) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      const changes = this.#changedWhileReading;
      this.#changedWhileReading = [];
      for (const change of changes) this.changed(change);
      this.#parts.onChange();
    });
  }

  /**
   * Reads open entries until enough are ready: onward from the last page, or from the oldest one. Finished entries leave
   * the list, so this reads little besides what is in hand or waiting.
   */
  async #read(): Promise<void> {
    const { access, queue, ahead } = this.#parts;
    const isOnward = !this.#hasGaps && !(this.#isPassedOver && this.#pages >= MAX_PAGES_ONWARD);
    if (!isOnward) [this.#next, this.#pages, this.#isPassedOver] = [undefined, 0, false];
    this.#hasGaps = false;
    this.#endedWhileReading.clear();
    try {
      do {
        const query = { queue, shard: this.shard, limit: PAGE, cursor: this.#next };
        const page = await access.openEntries(query, this.signal);
        if (this.#next === undefined) this.#readFrom = page.txId;
        this.#readUpTo = page.txId;
        for (const entry of page.entries) if (!this.#isKnown(entry.name)) this.#add(entry);
        this.#next = page.next;
        this.#pages += 1;
        this.#parts.onChange();
      } while (this.#next !== undefined && this.#ready.size < ahead && !this.signal.aborted);
      if (this.#next === undefined && this.#isPassedOver) this.#hasGaps = true;
    } catch (error) {
      this.#hasGaps = true;
      if (this.signal.aborted) return;
      this.#parts.onError(error as Error);
      await pause(UNREAD_PAUSE_MS, this.signal);
    }
  }

  /** Whether there may be open entries that are neither ready nor in hand nor waiting. */
  get #isUnread(): boolean {
    return this.#hasGaps || this.#next !== undefined;
  }

  #isKnown(name: string): boolean {
    return [this.#ready, this.#inHand, this.#waiting, this.#endedWhileReading].some((names) =>
      names.has(name),
    );
  }

  #add(entry: QueueEntry): void {
    const at = dueAt(entry.document);
    if (at > Date.now()) {
      this.#ready.delete(entry.name);
      this.#wait(entry.name, at);
    } else if (this.#ready.has(entry.name) || this.#ready.size < 2 * this.#parts.ahead + PAGE)
      this.#ready.set(entry.name, entry);
    else this.#hasGaps = true;
  }

  /** Hands an entry out again after a pause, because its document does not contain when it is due. */
  #pause(name: string, ms = AGAIN_PAUSE_MS): void {
    this.#wait(name, Date.now() + ms);
  }

  #wait(name: string, at: number): void {
    if (this.#waiting.size < MAX_WAITING) this.#waiting.set(name, at);
    this.#dueAt = Math.min(this.#dueAt, at);
    this.#parts.onChange();
  }

  /** Writes ends, as many as there are meanwhile in one transaction. */
  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#ends.length > 0 && !this.signal.aborted) {
      const batch = this.#nextBatch();
      try {
        await this.#writeBatch(batch);
      } catch (error) {
        for (const { entry } of batch) this.#pause(entry.name);
        if (!this.signal.aborted) this.#parts.onError(error as Error);
      }
      for (const { entry } of batch) this.#inHand.delete(entry.name);
      this.#changed.ring();
      this.#parts.onChange();
    }
    this.#isWriting = false;
  }

  #nextBatch(): End[] {
    let characters = 0;
    let count = 0;
    for (const { document } of this.#ends) {
      characters += JSON.stringify(document)?.length ?? 0;
      if (count > 0 && (count >= MAX_BATCH || characters > MAX_BATCH_CHARACTERS)) break;
      count += 1;
    }
    return this.#ends.splice(0, count);
  }

  async #writeBatch(batch: readonly End[]): Promise<void> {
    const outcome = await this.#committedOrRefused(batch);
    if (outcome === "committed") {
      for (const { entry, document } of batch) this.#ended(entry.name, document);
      return;
    }
    const { length, 0: only } = batch;
    if (length > 1 || only === undefined) {
      for (const end of batch) await this.#writeBatch([end]);
      return;
    }
    if (outcome === "refused") {
      // Either somebody else holds the shard now, or the entry itself was changed, as by an eviction.
      const { access, queue } = this.#parts;
      if (await holds(access, queue, this, this.signal)) this.#hasGaps = true;
      else this.lose("somebody else has claimed it");
      return;
    }
    // The document cannot be stored, so the attempt has failed.
    const instead = failed(only.entry.document, outcome, this.policy, Date.now());
    this.#parts.onError(outcome, only.entry);
    const isWritten =
      instead !== undefined &&
      (await this.#committedOrRefused([{ ...only, document: instead }])) === "committed";
    if (isWritten) this.#ended(only.entry.name, instead);
    else this.#pause(only.entry.name, UNWRITABLE_PAUSE_MS);
  }

  #ended(name: string, document: Json): void {
    if (this.#reading !== undefined) this.#endedWhileReading.add(name);
    if (isFinished(document, this.policy)) return;
    const at = dueAt(document);
    if (at > Date.now()) this.#wait(name, at);
    else this.#pause(name);
  }

  /** Submits ends as one transaction. Returns the error if they cannot be stored. */
  async #committedOrRefused(batch: readonly End[]): Promise<"committed" | "refused" | Error> {
    const { queue } = this.#parts;
    const ops = batch.flatMap(({ entry, document }): TxOperation[] => {
      const key = `${this.shard}/${entry.name}`;
      return [
        ["match", queue, key, entry.revision],
        ["put", queue, key, document, holdOf(this)],
      ];
    });
    try {
      return (await transactUntil(this.#parts.access, ops, this.signal)).committed ? "committed" : "refused";
    } catch (error) {
      const code = codeOf(error);
      if (code === "TX_INVALID" || code === "TX_TOO_LARGE" || error instanceof TypeError)
        return error as Error;
      throw error;
    }
  }
}
