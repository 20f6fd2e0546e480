/** A deadline for everything that one caller waits for, however many waits that takes. */
export class TimeLimit {
  /** The whole limit, in milliseconds. */
  readonly ms: number;
  readonly #endsAt: number;

  constructor(ms: number) {
    this.ms = ms;
    this.#endsAt = performance.now() + ms;
  }

  /** The time left, in whole milliseconds; 0 after the deadline. */
  get leftMs(): number {
    return Math.max(0, Math.ceil(this.#endsAt - performance.now()));
  }
}
