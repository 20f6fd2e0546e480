import { runAfter, timeoutSignal } from "../types/timing.ts";
import type { QueueEntry } from "../types/queues.ts";
import type { Json, TxOperation } from "../types/transaction.ts";
import { AGAIN_PAUSE_MS, dueAgainAt, durationMs, failed } from "./entry-rules.ts";
import { OpenEntries } from "./open-entries.ts";
import { codeOf, type DirectedQueue, type Hold, isHeld, transactUntil, withHold } from "./queue-access.ts";

/** The maximum number of entries in one transaction, and the maximum number of characters of their documents. */
const MAX_BATCH = 256;
const MAX_BATCH_CHARACTERS = 262_144;
/** The pause before an entry is handed out again of which nothing can be written: it will fail again. */
const UNWRITABLE_PAUSE_MS = 300_000;

/** The end of an attempt: the new document of an entry in hand. */
interface End {
  readonly entry: QueueEntry;
  readonly document: Json;
}

/**
 * A shard that this director has claimed, with its lease, its open entries, and the ends of attempts to be written. It
 * is *lost* once its lease has ended by this machine's clock, a write shows that its epoch is not the newest any more,
 * or it is given back. The signals of its handlers are then aborted, and nothing more of it is written.
 */
export class HeldShard {
  readonly hold: Hold;
  readonly entries: OpenEntries;
  readonly #queue: DirectedQueue;
  /** Aborted when the shard is lost, with the reason. */
  readonly #ending = new AbortController();
  /** The time (by `performance.now()`) before the claim or the last renewal was sent, from which the lease is counted. */
  heldAt = 0;
  #cancelLeaseTimer: (() => void) | undefined;
  /** The ends that the next transaction will contain; undefined while none is being written. */
  #ends: End[] | undefined;
  /** Whether no entries are handed out for now. */
  #isPaused = false;

  constructor(queue: DirectedQueue, hold: Hold, sentAt: number) {
    this.#queue = queue;
    this.hold = hold;
    this.entries = new OpenEntries(queue, hold.shard, this.signal);
    this.renewed(sentAt);
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Extends the lease, which was claimed or renewed by a transaction that was sent at `sentAt`. */
  renewed(sentAt: number): void {
    this.#cancelLeaseTimer?.();
    this.heldAt = sentAt;
    const left = sentAt + durationMs(this.#queue.policy.lease) - performance.now();
    const end = (): void => this.lose("its lease has ended");
    if (left <= 0) end();
    else this.#cancelLeaseTimer = runAfter(left, end);
  }

  lose(because: string): void {
    this.#cancelLeaseTimer?.();
    if (this.signal.aborted) return;
    const reason = new Error(`Shard ${this.hold.shard} of ${this.#queue.name} was given up: ${because}.`);
    this.#ending.abort(reason);
    for (const ending of this.entries.inHand.values()) ending.abort(reason);
    this.#queue.bell.ring();
  }

  /** Takes the next entry in hand, until {@link end}; undefined if there is none now. */
  take(): { readonly entry: QueueEntry; readonly signal: AbortSignal } | undefined {
    return this.#isPaused || this.signal.aborted ? undefined : this.entries.take();
  }

  /**
   * Writes the new document of an entry in hand. If it is undefined, the entry stays as it is, and is handed out again
   * after a pause.
   */
  end(entry: QueueEntry, document: Json | undefined): void {
    if (document === undefined || this.signal.aborted) this.#putBack(entry);
    else if (this.#ends !== undefined) this.#ends.push({ entry, document });
    else void this.#write([{ entry, document }]);
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
      const patience = timeoutSignal(durationMs(this.#queue.policy.lease));
      if ((await this.idle(patience)) && !this.signal.aborted) await act();
    } finally {
      this.#isPaused = false;
      this.#queue.bell.ring();
    }
  }

  #putBack({ name }: QueueEntry, pauseMs = AGAIN_PAUSE_MS): void {
    this.entries.ended(name, Date.now() + pauseMs);
  }

  /** Writes ends, as many as there are meanwhile in one transaction. */
  async #write(ends: End[]): Promise<void> {
    this.#ends = ends;
    while (ends.length > 0 && !this.signal.aborted) await this.#writeBatch(nextBatch(ends));
    this.#ends = undefined;
  }

  async #writeBatch(batch: readonly End[]): Promise<void> {
    try {
      await this.#tryToWrite(batch);
    } catch (error) {
      for (const { entry } of batch) this.#putBack(entry);
      if (!this.signal.aborted) this.#queue.onError(error);
    }
  }

  async #tryToWrite(batch: readonly End[]): Promise<void> {
    const { access, name, policy, onError } = this.#queue;
    const outcome = await this.#submit(batch);
    if (outcome === "committed") {
      for (const { entry, document } of batch)
        this.entries.ended(entry.name, dueAgainAt(entry.document, document, policy, Date.now()));
      return;
    }
    const { length, 0: only } = batch;
    if (length > 1 || only === undefined) {
      for (const end of batch) await this.#writeBatch([end]);
      return;
    }
    const { entry } = only;
    if (outcome === "refused") {
      // Either the shard has another holder now, or the entry itself was changed, as by an eviction.
      if (isHeld(await access.queue(name, this.signal), this.hold)) this.entries.ended(entry.name, 0);
      else this.lose("another director has claimed it");
      return;
    }
    // The document cannot be stored, so the attempt has failed.
    onError(outcome, entry);
    const document = failed(entry.document, outcome, policy, Date.now());
    if (document !== undefined && (await this.#submit([{ entry, document }])) === "committed")
      this.entries.ended(entry.name, dueAgainAt(entry.document, document, policy, Date.now()));
    else this.#putBack(entry, UNWRITABLE_PAUSE_MS);
  }

  /** Submits ends as one transaction. Returns the error if they cannot be stored. */
  async #submit(batch: readonly End[]): Promise<"committed" | "refused" | Error> {
    const { access, name } = this.#queue;
    const ops = batch.flatMap(({ entry, document }): TxOperation[] => {
      const key = `${this.hold.shard}/${entry.name}`;
      return [
        ["match", name, key, entry.revision],
        ["put", name, key, document, withHold(this.hold)],
      ];
    });
    try {
      return (await transactUntil(access, ops, this.signal)).committed ? "committed" : "refused";
    } catch (error) {
      const isUnstorable = ["TX_INVALID", "TX_TOO_LARGE"].includes(String(codeOf(error)));
      if (isUnstorable || error instanceof TypeError) return error as Error;
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
