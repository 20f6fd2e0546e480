/** A semaphore that admits `limit` holders at a time (1 by default), in the order of their requests. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit = 1) {
    this.#free = limit;
  }

  /** Whether a caller is waiting to be admitted. */
  get isContended(): boolean {
    return this.#waiting.length > 0;
  }

  /** Waits to be admitted. Returns the function that admits the next waiter; it must be called exactly once. */
  async acquire(): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#release;
  }

  readonly #release = (): void => {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  };
}
