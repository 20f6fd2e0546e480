/** A limit for the whole of what one caller waits for, however many waits that is made of. */
export class TimeLimit {
  /** What was allowed in all, in milliseconds. */
  readonly ms: number;
  readonly #endsAt: number;

  constructor(ms: number) {
    this.ms = ms;
    this.#endsAt = performance.now() + ms;
  }

  /** What is left of it, in whole milliseconds; 0 once it has passed. */
  get leftMs(): number {
    return Math.max(0, Math.ceil(this.#endsAt - performance.now()));
  }
}
