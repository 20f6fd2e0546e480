import type { KvPurge, KvPurged, KvPurging, KvStore } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { Semaphore } from "../../concurrency/semaphore.ts";
import type { IndexState } from "../rows/index-state.ts";
import { evictionsAfter, type PurgeMark, purgeRow, readPurgeMarks } from "../rows/purge-row.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { parseNumberedStem } from "../rows/row-keys.ts";
import { evictedRanges } from "./evicted-ranges.ts";

/** What keeps evicted bytes in the files; `unknown`: the store cannot tell. */
export type PurgeHeld = Exclude<KvPurged, "gone" | "named"> | "unknown";

/** How far a run came: everything evicted is gone up to `txId`, and what holds the rest (undefined: there is no more). */
export interface PurgeReport {
  readonly txId: TxId;
  readonly held: PurgeHeld | undefined;
}

/** Purged in one go: more would take more memory, and their ranges soon cover all of the index anyway. */
const MOST_EVICTIONS = 10_000;

/** Overwrites in an index's files what was evicted, in the order of the evictions, and notes in the index how far that is. */
export class EvictionPurge {
  readonly #kv: KvStore;
  /** Of those who write what depends on what is in the store. */
  readonly #writing: Semaphore;
  readonly #running = new Semaphore();
  #marks: readonly PurgeMark[] | undefined;
  #begun: { readonly txId: TxId; readonly purge: KvPurge } | undefined;
  #held: PurgeHeld | undefined;

  constructor(kv: KvStore, writing: Semaphore) {
    this.#kv = kv;
    this.#writing = writing;
  }

  /** What held the last run, which is why the evictions after the last mark are still there. */
  get held(): PurgeHeld | undefined {
    return this.#held;
  }

  /**
   * Goes on for about `withinMs`; what is left then, the next run does. `state` is that of the index, at each call. Errors: `INDEX_CORRUPT`,
   * those of writing to the store, and the reason of `signal`.
   */
  async run(
    { withinMs, signal }: Pick<KvPurging, "withinMs" | "signal">,
    state: () => IndexState,
  ): Promise<PurgeReport> {
    const done = await this.#running.acquire();
    try {
      const end = performance.now() + withinMs;
      const options = { alone: (work: () => Promise<void>) => this.#alone(work), ...(signal && { signal }) };
      for (;;) {
        this.#marks ??= await this.#marksAnew();
        const { txId = 0 } = this.#marks.at(-1) ?? {};
        this.#begun ??= await this.#begin(txId, state());
        if (this.#begun === undefined) return { txId, held: this.#held };
        this.#held = await this.#go(this.#begun, {
          ...options,
          withinMs: Math.max(0, end - performance.now()),
        });
        if (this.#held !== undefined) return { txId, held: this.#held };
      }
    } finally {
      done();
    }
  }

  /** Undefined where nothing was evicted since, or the store cannot purge. */
  async #begin(after: TxId, state: IndexState): Promise<{ txId: TxId; purge: KvPurge } | undefined> {
    const evicted: { readonly txId: TxId; readonly stem: Buffer }[] = [];
    for await (const rows of this.#kv.range({ ...evictionsAfter(after), limit: MOST_EVICTIONS + 1 })) {
      for (const [key, value] of rows) {
        unsealed(key, value);
        const { number, stem } = parseNumberedStem(key);
        evicted.push({ txId: number, stem });
      }
    }
    this.#held = undefined;
    const last = evicted.at(-1);
    if (last === undefined) return undefined;
    if (this.#kv.purge === undefined) {
      this.#held = "unknown";
      return undefined;
    }
    // Of the transaction at which the page ends there may be more, unless it is all of the page.
    const whole = evicted.length > MOST_EVICTIONS ? evicted.filter(({ txId }) => txId < last.txId) : evicted;
    const txId = whole.at(-1)?.txId ?? last.txId;
    const stems = whole.length > 0 ? whole.map(({ stem }) => stem) : await this.#stemsOf(last.txId);
    return { txId, purge: this.#kv.purge(evictedRanges(stems, state)) };
  }

  async #stemsOf(txId: TxId): Promise<Buffer[]> {
    const stems: Buffer[] = [];
    const range = { gte: evictionsAfter(txId - 1).gte, lt: evictionsAfter(txId).gte };
    for await (const rows of this.#kv.range(range)) {
      for (const [key] of rows) stems.push(parseNumberedStem(key).stem);
    }
    return stems;
  }

  /** Answers what holds it, and undefined when it is done and noted. */
  async #go(
    { txId, purge }: { txId: TxId; purge: KvPurge },
    options: KvPurging,
  ): Promise<PurgeHeld | undefined> {
    const purged = await purge.run(options);
    if (purged === "unfinished" || purged === "read") return purged;
    const mark = { txId, at: Date.now(), ...(purged === "named" ? { named: true as const } : {}) };
    await this.#note([...(this.#marks ?? []), mark]);
    this.#begun = undefined;
    return undefined;
  }

  /** The store was opened since the last mark: what was only named in the files that it had then is gone. */
  async #marksAnew(): Promise<readonly PurgeMark[]> {
    const marks = await readPurgeMarks(this.#kv);
    if (!marks.some(({ named }) => named)) return marks;
    const now = Date.now();
    return await this.#note(marks.map(({ txId, at, named }) => ({ txId, at: named === true ? now : at })));
  }

  async #note(marks: readonly PurgeMark[]): Promise<readonly PurgeMark[]> {
    await this.#alone(async () => await this.#kv.batch([purgeRow(marks)]));
    this.#marks = marks;
    return marks;
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    const done = await this.#writing.acquire();
    try {
      await work();
    } finally {
      done();
    }
  }
}
