import { setImmediate as nextTurn } from "node:timers/promises";

/** Who reads: one watcher, for as long as it watches. */
export interface FairReader {
  /** How many reads it was given so far. */
  served: number;
  /** Once it is aborted the watcher is gone, and what only it waited for is not read any more. */
  readonly signal?: AbortSignal | undefined;
}

/** What a read gave. The turn that it took lasts until it has `rested`; its answer is given before. */
export interface TurnTaken<T> {
  readonly answer: T;
  readonly rested?: Promise<void> | undefined;
}

interface Waiter<T> {
  readonly reader: FairReader;
  readonly resolve: (answer: T | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** A read that has yet to begin, and all who wait for it. */
interface Job<T> {
  readonly key: string;
  readonly read: () => Promise<TurnTaken<T>>;
  readonly waiters: Waiter<T>[];
}

/** How many are given an answer before the event loop turns: each of them writes it to its socket at once. */
const MAX_ANSWERS_PER_TURN = 32;

/**
 * Reads for many readers, a bounded number at a time, so that none of them waits for all the others. Turns go alternately to the read that
 * has waited longest, so that every reader has its turn, and to the one whose reader was served least, so that those who just came do not
 * wait until all who were there before have been served again. Readers who ask for the same before it is read share one read: whatever is
 * read after they asked is new enough for all of them.
 */
export class FairReads<T> {
  readonly #limit: number;
  /** In the order in which they were asked for. */
  readonly #jobs = new Map<string, Job<T>>();
  #running = 0;
  #isLeastServedNext = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** What `read` gives, once it had its turn; undefined where the reader was gone by then. Reads of one `key` are the same. */
  async read(reader: FairReader, key: string, read: () => Promise<TurnTaken<T>>): Promise<T | undefined> {
    return await new Promise((resolve, reject) => {
      const waiter = { reader, resolve, reject };
      const known = this.#jobs.get(key);
      if (known === undefined) this.#jobs.set(key, { key, read, waiters: [waiter] });
      else known.waiters.push(waiter);
      this.#begin();
    });
  }

  #begin(): void {
    while (this.#running < this.#limit) {
      const job = this.#take();
      if (job === undefined) return;
      this.#running += 1;
      void this.#run(job).finally(() => {
        this.#running -= 1;
        this.#begin();
      });
    }
  }

  /** Takes the job whose turn it is, and drops those that nobody waits for any more. */
  #take(): Job<T> | undefined {
    this.#isLeastServedNext = !this.#isLeastServedNext;
    let chosen: Job<T> | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const job of this.#jobs.values()) {
      const there = job.waiters.filter(({ reader }) => reader.signal?.aborted !== true);
      if (there.length === 0) {
        this.#jobs.delete(job.key);
        for (const { resolve } of job.waiters) resolve(undefined);
        continue;
      }
      const served = Math.min(...there.map(({ reader }) => reader.served));
      if (served >= least) continue;
      chosen = job;
      least = served;
      if (!this.#isLeastServedNext) break;
    }
    if (chosen !== undefined) this.#jobs.delete(chosen.key);
    return chosen;
  }

  async #run({ read, waiters }: Job<T>): Promise<void> {
    let taken: TurnTaken<T>;
    try {
      taken = await read();
    } catch (error) {
      for (const { reject } of waiters) reject(error);
      return;
    }
    for (const [index, { reader, resolve }] of waiters.entries()) {
      if (index > 0 && index % MAX_ANSWERS_PER_TURN === 0) await nextTurn();
      reader.served += 1;
      resolve(taken.answer);
    }
    await taken.rested;
  }
}
