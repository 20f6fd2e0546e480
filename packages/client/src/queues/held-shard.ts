import { startTimer, timeoutSignal } from "../types/timing.ts";
import type { QueueEntry } from "../types/queues.ts";
import type { AnyOperation, Json, TxId } from "../types/transaction.ts";
import { CairnClientError, hasCode } from "../types/client-error.ts";
import {
  AGAIN_PAUSE_MS,
  asError,
  begun,
  dueAgainAt,
  failed,
  isFinished,
  isSuspect,
  UNANSWERED,
  unsuspected,
} from "./entry-rules.ts";
import { OpenEntries } from "./open-entries.ts";
import { type DirectedQueue, type Hold, isHeld, withHold } from "./queue-access.ts";

/** The part of a lease after which it is renewed. */
export const RENEW_AFTER = 1 / 4;
/**
 * The part of a lease within which entries are handed out. A handler may keep the thread, and with it the renewal, busy
 * for the rest.
 */
export const HAND_OUT_WITHIN = 1 / 2;

/** The maximum number of entries in one transaction, and the maximum number of characters of their documents. */
const MAX_BATCH = 256;
const MAX_BATCH_CHARACTERS = 262_144;
/** The pause before an entry is handed out again of which nothing can be written: it will fail again. */
const UNWRITABLE_PAUSE_MS = 300_000;

/**
 * The number of entries handed out first of a shard whose last director has not given it back, before which a note is
 * written, because they may have been in hand when its process ended.
 */
const NOTED_AFTER_LOSS = 256;

/** The end of an attempt: the new document of an entry in hand. */
interface End {
  readonly entry: QueueEntry;
  readonly document: Json;
  /** Set if the attempt only begins: called with the entry as it is then, or undefined if it was put back. */
  readonly onBegun?: (entry: QueueEntry | undefined) => void;
}

/**
 * A shard that this director has claimed, with its lease, its open entries, and the ends of attempts to be written. Once
 * its lease has ended by this machine's clock, the signals of its handlers are aborted, and nothing of it is handed out
 * or written until a renewal has shown that its epoch is still the newest. It is *lost* once a renewal or a write shows
 * that this is not so, or it is given back.
 */
export class HeldShard {
  readonly hold: Hold;
  readonly entries: OpenEntries;
  readonly #queue: DirectedQueue;
  /** Aborted when the shard is lost, with the reason. */
  readonly #ending = new AbortController();
  /** The time (by `performance.now()`) before the claim or the last renewal was sent, from which the lease is counted. */
  #heldAt = 0;
  #cancelLeaseTimer: (() => void) | undefined;
  #renewal: Promise<void> | undefined;
  /** The ends that the next transaction will contain; undefined while none is being written. */
  #ends: End[] | undefined;
  /** The entries in hand before whose attempt a note was written, as they were before it. */
  readonly #noted = new Map<string, QueueEntry>();
  #toNote: number;
  #isPaused = false;

  /** `isTakenOver` says that the last director of the shard has not given it back. */
  constructor(queue: DirectedQueue, hold: Hold, sentAt: number, isTakenOver: boolean) {
    this.#queue = queue;
    this.#toNote = isTakenOver ? NOTED_AFTER_LOSS : 0;
    this.hold = hold;
    this.entries = new OpenEntries(queue, hold.shard, this.signal);
    this.#renewed(sentAt);
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether no entries are handed out for now, because the shard is going to be drained or given back. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /**
   * Returns whether the shard is not lost, and this part of its lease not over. The clock decides, because no timer
   * fires while a handler keeps the thread busy.
   */
  mayAct(part = 1): boolean {
    const age = performance.now() - this.#heldAt;
    return !this.signal.aborted && age < part * this.#queue.leaseMs;
  }

  /** Renews the lease if that is due. Calls before the answer share it. */
  async renew(): Promise<void> {
    if (this.signal.aborted || this.mayAct(RENEW_AFTER)) return;
    this.#renewal ??= this.#sendRenewal().finally(() => (this.#renewal = undefined));
    await this.#renewal;
  }

  async #sendRenewal(): Promise<void> {
    const sentAt = performance.now();
    try {
      const { queue, shard } = this.hold;
      const renewal: AnyOperation = ["renew", queue, shard, withHold(this.hold)];
      const { committed, reason = "" } = await this.#queue.transact([renewal], this.signal);
      if (committed) this.#renewed(sentAt);
      else this.lose(`it could not be renewed (${reason})`);
    } catch (error) {
      if (!this.signal.aborted) throw error;
    }
  }

  /** Extends the lease, which was claimed or renewed by a transaction that was sent at `sentAt`. */
  #renewed(sentAt: number): void {
    this.#cancelLeaseTimer?.();
    if (this.signal.aborted) return;
    this.#heldAt = sentAt;
    const left = sentAt + this.#queue.leaseMs - performance.now();
    this.#cancelLeaseTimer = startTimer(Math.max(0, left), () => void this.#abort("its lease has ended"));
    this.#queue.bell.ring();
  }

  lose(because: string): void {
    this.#cancelLeaseTimer?.();
    if (!this.signal.aborted) this.#ending.abort(this.#abort(because));
  }

  /** Aborts what is in hand. Returns the reason. */
  #abort(because: string): Error {
    const reason = new Error(`Shard ${this.hold.shard} of ${this.#queue.name} was given up: ${because}.`);
    for (const ending of this.entries.inHand.values()) ending.abort(reason);
    this.#queue.bell.ring();
    return reason;
  }

  /** Takes the next entry in hand, until {@link end}; undefined if there is none now. It may be a suspect or not. */
  take(suspects: boolean): { readonly entry: QueueEntry; readonly signal: AbortSignal } | undefined {
    if (this.#isPaused) return undefined;
    if (!this.mayAct(RENEW_AFTER)) this.renew().catch(this.#queue.onError);
    return this.mayAct(HAND_OUT_WITHIN) ? this.entries.take(suspects) : undefined;
  }

  /**
   * Writes down that an attempt at an entry in hand begins, if it may have ended a process before. Returns the entry for
   * its handler; undefined if it is no longer in hand.
   */
  async begin(entry: QueueEntry): Promise<QueueEntry | undefined> {
    if (this.#toNote === 0 && !isSuspect(entry.document)) return entry;
    this.#toNote = Math.max(0, this.#toNote - 1);
    const { policy, onError, now } = this.#queue;
    const document = begun(entry.document, policy, now());
    if (document === undefined) return entry;
    if (isFinished(document, policy)) {
      onError(new CairnClientError("UNANSWERED", `${entry.name} was given up. ${UNANSWERED}`), entry);
      this.end(entry, document);
      return undefined;
    }
    const noted = await new Promise<QueueEntry | undefined>((onBegun) =>
      this.#push({ entry, document, onBegun }),
    );
    // If the shard is lost meanwhile, so is the entry.
    await this.#untilHeld(HAND_OUT_WITHIN).catch(() => {});
    return noted && { ...noted, document: unsuspected(entry.document) };
  }

  /**
   * Writes the new document of an entry in hand. If it is undefined, the entry stays as it is, and is handed out again
   * after a pause.
   */
  end(entry: QueueEntry, document: Json | undefined): void {
    if (document === undefined) this.putBack(entry);
    else this.#push({ entry, document });
  }

  #push(end: End): void {
    if (this.#ends === undefined) void this.#write([end]);
    else this.#ends.push(end);
  }

  async #untilHeld(part?: number): Promise<void> {
    while (!this.mayAct(part)) {
      this.signal.throwIfAborted();
      await this.renew();
    }
  }

  /** Resolves once no entry is in hand and all ends are written, or the shard is lost; with false if `patience` ends first. */
  async idle(patience: AbortSignal): Promise<boolean> {
    const { bell } = this.#queue;
    const ring = (): void => bell.ring();
    patience.addEventListener("abort", ring);
    const isIdle = (): boolean => this.entries.inHand.size === 0 || this.signal.aborted;
    while (!isIdle() && !patience.aborted) await bell.next;
    patience.removeEventListener("abort", ring);
    return isIdle();
  }

  /** Does something while no entry is in hand, and hands none out until then. Goes on with them if that takes a lease. */
  async whileIdle(act: () => Promise<void>): Promise<void> {
    if (this.#isPaused) return;
    this.#isPaused = true;
    try {
      const patience = timeoutSignal(this.#queue.leaseMs);
      if ((await this.idle(patience)) && !this.signal.aborted) await act();
    } finally {
      this.#isPaused = false;
      this.#queue.bell.ring();
    }
  }

  /** Has an entry in hand handed out again after a pause, as it was. */
  putBack({ name }: QueueEntry, pauseMs = AGAIN_PAUSE_MS): void {
    const noted = this.#noted.get(name);
    this.#noted.delete(name);
    if (noted !== undefined && !this.signal.aborted) this.end(noted, noted.document);
    else this.entries.ended(name, this.#queue.now() + pauseMs);
  }

  /** Takes back that attempts at the entries in hand have begun, because the shard is given back. */
  async takeBack(signal: AbortSignal): Promise<void> {
    const noted = Array.from(this.#noted.values(), (entry) => ({ entry, document: entry.document }));
    if (noted.length > 0) await this.#submit(noted, signal);
  }

  /** Puts an entry back whose attempt has ended, but is not known to be written, and reports that. */
  drop(entry: QueueEntry, cause: unknown): void {
    this.putBack(entry);
    const message = `The end of an attempt at ${entry.name} was dropped. ${asError(cause).message} The entry may be handled again.`;
    this.#queue.onError(new CairnClientError("END_DROPPED", message, { cause }), entry);
  }

  /** Writes ends, as many as there are meanwhile in one transaction, once the lease is known to be held. */
  async #write(ends: End[]): Promise<void> {
    this.#ends = ends;
    while (ends.length > 0) {
      try {
        await this.#untilHeld();
      } catch (error) {
        this.#dropAll(ends.splice(0), error);
        continue;
      }
      await this.#writeBatch(nextBatch(ends));
    }
    this.#ends = undefined;
  }

  async #writeBatch(batch: readonly End[]): Promise<void> {
    try {
      await this.#tryToWrite(batch);
    } catch (error) {
      this.#dropAll(batch, error);
    }
  }

  #dropAll(ends: readonly End[], cause: unknown): void {
    for (const { entry, onBegun } of ends) {
      if (onBegun === undefined) {
        this.drop(entry, cause);
        continue;
      }
      this.putBack(entry);
      onBegun(undefined);
    }
  }

  #written({ entry, document, onBegun }: End, revision: TxId): void {
    const { policy, now } = this.#queue;
    if (onBegun !== undefined) {
      this.#noted.set(entry.name, { ...entry, revision });
      onBegun({ ...entry, revision });
      return;
    }
    this.#noted.delete(entry.name);
    this.entries.ended(entry.name, dueAgainAt(entry.document, document, policy, now()));
  }

  async #tryToWrite(batch: readonly End[]): Promise<void> {
    const { access, name, policy, onError, now } = this.#queue;
    const outcome = await this.#submit(batch, this.signal);
    if (typeof outcome === "number") {
      for (const end of batch) this.#written(end, outcome);
      return;
    }
    const { length, 0: only } = batch;
    if (length > 1 || only === undefined) {
      for (const end of batch) await this.#writeBatch([end]);
      return;
    }
    const { entry, onBegun } = only;
    if (outcome === "refused") {
      // Either the shard has another holder now, or the entry itself was changed, as by an eviction.
      this.#noted.delete(entry.name);
      if (isHeld(await access.queue(name, this.signal), this.hold))
        throw new Error("Another program has changed or removed the entry.");
      this.lose("another director has claimed it");
      this.signal.throwIfAborted();
      return;
    }
    // An attempt whose beginning cannot be stored is not counted if it ends with its process.
    if (onBegun !== undefined) return onBegun(entry);
    // The document cannot be stored, so the attempt has failed.
    const document = failed(entry.document, outcome, policy, now());
    onError(outcome, entry);
    if (document === undefined) return this.putBack(entry);
    const stored = await this.#submit([{ entry, document }], this.signal);
    if (typeof stored === "number") this.#written({ entry, document }, stored);
    else this.putBack(entry, UNWRITABLE_PAUSE_MS);
  }

  /** Submits ends as one transaction. Returns its id, or the error if they cannot be stored. */
  async #submit(batch: readonly End[], signal: AbortSignal): Promise<TxId | "refused" | Error> {
    const { name, transact } = this.#queue;
    const ops = batch.flatMap(({ entry, document }): AnyOperation[] => {
      const key = `${this.hold.shard}/${entry.name}`;
      return [
        ["match", name, key, entry.revision],
        ["put", name, key, document, withHold(this.hold)],
      ];
    });
    try {
      const { committed, txId, duplicateOf = txId } = await transact(ops, signal);
      return committed ? duplicateOf : "refused";
    } catch (error) {
      if (hasCode(error, "TX_INVALID", "TX_TOO_LARGE") || error instanceof TypeError) return error;
      throw error;
    }
  }
}

/** Takes as many ends as fit into one transaction. */
function nextBatch(ends: End[]): End[] {
  let characters = 0;
  let count = 0;
  for (const { document } of ends) {
    characters += JSON.stringify(document)?.length ?? 0;
    if (count > 0 && (count >= MAX_BATCH || characters > MAX_BATCH_CHARACTERS)) break;
    count += 1;
  }
  return ends.splice(0, count);
}
