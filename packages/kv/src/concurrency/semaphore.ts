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
