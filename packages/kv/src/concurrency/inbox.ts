/** A first-in, first-out queue of values from elsewhere, usually another thread. `T` must not include undefined. */
export class Inbox<T> {
  // One of the two is always empty, because a value goes to the first waiting taker.
  readonly #held: T[];
  readonly #takers: { give(one: T): void; refuse(error: unknown): void }[] = [];
  #failure: { readonly error: unknown } | undefined;

  constructor(held: Iterable<T> = []) {
    this.#held = [...held];
  }

  put(one: T): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#held.push(one);
    else taker.give(one);
  }

  /** Ends the queue: once it is empty, `take` throws `error`. Only the first call counts. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    for (const taker of this.#takers.splice(0)) taker.refuse(error);
  }

  /** Takes the next value. If the queue is empty, waits for one. */
  async take(): Promise<T> {
    const one = this.#held.shift();
    if (one !== undefined) return one;
    if (this.#failure !== undefined) throw this.#failure.error;
    return await new Promise((give, refuse) => this.#takers.push({ give, refuse }));
  }
}
