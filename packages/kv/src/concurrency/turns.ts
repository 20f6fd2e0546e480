import { resolvable } from "./resolvable.ts";
import { type Deadline, TIMED_OUT, withTimeout } from "./time-limit.ts";

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
      void this.#forget(subject, both);
    }
  }

  async #forget(subject: string, end: Promise<void>): Promise<void> {
    await end;
    if (this.#ends.get(subject) === end) this.#ends.delete(subject);
  }
}
