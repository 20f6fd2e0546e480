/** Lets so many at a time go on, one when nothing is said, the others in the order in which they came. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count = 1) {
    this.#free = count;
  }

  /** Whether somebody waits for a turn. */
  get isWanted(): boolean {
    return this.#waiting.length > 0;
  }

  /** Waits for those who came before; what it answers lets the next one go on, and is called once. */
  async take(): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#give;
  }

  readonly #give = (): void => {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  };
}

/** A promise that is resolved from outside. */
export function resolvable(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: (() => void) | undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve: () => resolve?.() };
}
