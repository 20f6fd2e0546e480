import { wait } from "@cairn/kv";
import type { PageHolder } from "./page-memory.ts";
import { setImmediate as yieldToEventLoop } from "node:timers/promises";

/** A reader, which is one watcher for the duration of its watch. */
export interface FairReader extends PageHolder {
  served: number;
  /** True once the watch has ended. Reads for which no other watcher is waiting are then dropped. */
  readonly isGone: boolean;
}

/** The memory for the results of reads. No read begins while it is full. */
interface ReadMemory<T> {
  readonly isFull: boolean;
  hold(reader: FairReader, answer: T): void;
  wait(retry: () => void): void;
}

/** The result of a read. It is delivered immediately, but the slot of the read is released only after `pause`. */
export interface FairRead<T> {
  readonly answer: T;
  readonly pause?: Promise<void> | undefined;
}

interface Waiter<T> {
  readonly reader: FairReader;
  readonly resolve: (answer: T | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** A read that has not begun, and all readers that are waiting for it. */
interface Job<T> {
  readonly key: string;
  readonly read: () => Promise<FairRead<T>>;
  readonly waiters: Waiter<T>[];
}

/** How many results are delivered, each immediately written to a socket, before the code yields to the event loop. */
const MAX_ANSWERS_PER_TURN = 32;

/** A pause is this multiple of the work before it: watches use at most a fifth of the thread, and indexing the rest. */
const PAUSE_FACTOR = 4;
const MAX_PAUSE_MS = 200;

/** Pauses after `busyMs` of work for watches, so that the thread can do other work. */
export async function pauseAfter(busyMs: number): Promise<void> {
  const ms = Math.min(MAX_PAUSE_MS, busyMs * PAUSE_FACTOR);
  if (ms >= 1) await wait(ms);
}

/**
 * Schedules reads for many readers, at most `limit` at a time. Slots alternate between two rules: the longest wait
 * first, so that every reader is served; and the least served reader first, so that new ones need not wait until all
 * others are served again. Requests for a key share one read that has not begun: its data is recent enough for all.
 */
export class FairReads<T> {
  readonly #limit: number;
  readonly #memory: ReadMemory<T> | undefined;
  /** The jobs in the order of the requests. */
  readonly #jobs = new Map<string, Job<T>>();
  #running = 0;
  #isLeastServedNext = false;

  /** With `memory`, results count there from when they are delivered. Each reader releases its own. */
  constructor(limit: number, memory?: ReadMemory<T>) {
    this.#limit = limit;
    this.#memory = memory;
  }

  /** Undefined if the reader was gone before its turn. Reads with the same `key` are interchangeable. */
  async read(reader: FairReader, key: string, read: () => Promise<FairRead<T>>): Promise<T | undefined> {
    return await new Promise((resolve, reject) => {
      const waiter = { reader, resolve, reject };
      const known = this.#jobs.get(key);
      if (known === undefined) this.#jobs.set(key, { key, read, waiters: [waiter] });
      else known.waiters.push(waiter);
      this.#begin();
    });
  }

  readonly #begin = (): void => {
    while (this.#running < this.#limit) {
      this.#dropUnwanted();
      if (this.#jobs.size === 0) return;
      if (this.#memory?.isFull === true) return this.#memory.wait(this.#begin);
      const job = this.#take();
      if (job === undefined) return;
      this.#running += 1;
      void this.#run(job).finally(() => {
        this.#running -= 1;
        this.#begin();
      });
    }
  };

  #dropUnwanted(): void {
    for (const { key, waiters } of this.#jobs.values()) {
      if (!waiters.every(({ reader }) => reader.isGone)) continue;
      this.#jobs.delete(key);
      for (const { resolve } of waiters) resolve(undefined);
    }
  }

  #take(): Job<T> | undefined {
    this.#isLeastServedNext = !this.#isLeastServedNext;
    let chosen: Job<T> | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const job of this.#jobs.values()) {
      const there = job.waiters.filter(({ reader }) => !reader.isGone);
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
    let taken: FairRead<T>;
    try {
      taken = await read();
    } catch (error) {
      for (const { reject } of waiters) reject(error);
      return;
    }
    for (const { reader } of waiters) this.#memory?.hold(reader, taken.answer);
    for (const [index, { reader, resolve }] of waiters.entries()) {
      if (index > 0 && index % MAX_ANSWERS_PER_TURN === 0) await yieldToEventLoop();
      reader.served += 1;
      resolve(taken.answer);
    }
    await taken.pause;
  }
}
