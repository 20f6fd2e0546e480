import { type Deadline, TIMED_OUT, withTimeout } from "./timer.ts";

/** A semaphore that admits `limit` holders at a time, in the order of their requests. The limit defaults to 1. */
export class Semaphore {
  #free: number;
  admissions = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit = 1) {
    this.#free = limit;
  }

  get isContended(): boolean {
    return this.#waiting.length > 0;
  }

  /** Returns whether a caller would have to wait. */
  get isFull(): boolean {
    return this.#free === 0;
  }

  /** The returned function releases the semaphore, which admits the next caller. It must be called exactly once. */
  async acquire(): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.admissions += 1;
    return this.#release;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.acquire();
    try {
      return await work();
    } finally {
      release();
    }
  }

  readonly #release = (): void => {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  };
}

/** Returns a promise and the function that resolves it (`Promise.withResolvers` in newer versions of Node). */
export function resolvable(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: (() => void) | undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve: () => resolve?.() };
}

/** Runs work that concerns the same subject one after another, in the order of the requests. */
export class Turns {
  /** The end of the last turn of each subject. */
  readonly #ends = new Map<string, Promise<void>>();

  /** Returns the result of `work`, or {@link TIMED_OUT} without running it if its turn does not come in time. */
  async take<T>(subject: string, limit: Deadline, work: () => Promise<T>): Promise<T | typeof TIMED_OUT> {
    const previous = this.#ends.get(subject) ?? Promise.resolve();
    const { promise: ended, resolve: end } = resolvable();
    // A turn that was given up does not let later ones overtake earlier ones.
    const both = previous.then(() => ended);
    this.#ends.set(subject, both);
    try {
      if ((await withTimeout(previous, limit.leftMs)) === TIMED_OUT) return TIMED_OUT;
      return await work();
    } finally {
      end();
      void both.then(() => this.#ends.get(subject) === both && this.#ends.delete(subject));
    }
  }
}
