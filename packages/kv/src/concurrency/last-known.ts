import { isCairnError } from "../errors/errors.ts";
import { SharedResults } from "./shared-results.ts";
import { withTimeout } from "./time-limit.ts";

/** The result of repeated work, kept while it fails or hangs: an absent source must not hide the changes of others. */
export class LastKnown<T> {
  readonly #work: () => Promise<T>;
  readonly #limitMs: number;
  #result: T | undefined;
  readonly #runs = new SharedResults<void>();

  constructor(work: () => Promise<T>, limitMs: number) {
    this.#work = work;
    this.#limitMs = limitMs;
  }

  /**
   * Repeats the work. After a `CairnError` or the limit, returns the last result, if any. Work beyond the limit goes
   * on, and the next call waits for it: a slow source is not asked more and more often, and its result is not lost.
   */
  async current(): Promise<T | undefined> {
    await withTimeout(
      this.#runs.get("", () => this.#run()),
      this.#limitMs,
    );
    return this.#result;
  }

  async #run(): Promise<void> {
    try {
      this.#result = await this.#work();
    } catch (error) {
      if (!isCairnError(error)) throw error;
    }
  }
}
