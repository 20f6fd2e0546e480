import { isCairnError } from "@cairn/kv";
import { SharedResults } from "./shared-results.ts";
import { withTimeout } from "./time-limit.ts";

/**
 * The result of work that is repeated, such as a look at a store. While the work fails or does not end, its last result
 * stays valid, so that one source that is away does not hide the changes of others.
 */
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
   * Does the work again, and returns its result. After a `CairnError` or the time limit, returns the last result;
   * undefined if there is none yet. Work that exceeds the limit continues, and the next call waits for it instead of
   * beginning anew: a slow source is then not asked more and more often, and its result is not lost.
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
