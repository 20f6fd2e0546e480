import { unlessFailed } from "../errors/errors.ts";
import { withTimeout } from "./timer.ts";

/** Calls with the same key share a run and, for `keepMs` (default 0), its result. Errors are shared, but not kept. */
export class SharedResults<T> {
  readonly #keepMs: number;
  readonly #runs = new Map<string, { readonly result: Promise<T>; endedAt: number | undefined }>();

  constructor(keepMs = 0) {
    this.#keepMs = keepMs;
  }

  async get(key: string, work: () => Promise<T>): Promise<T> {
    for (const [known, { endedAt }] of this.#runs) {
      if (endedAt !== undefined && performance.now() - endedAt >= this.#keepMs) this.#runs.delete(known);
    }
    const known = this.#runs.get(key);
    if (known !== undefined) return await known.result;
    const run = { result: work(), endedAt: undefined as number | undefined };
    this.#runs.set(key, run);
    run.result.then(
      () => (run.endedAt = performance.now()),
      () => this.#runs.delete(key),
    );
    return await run.result;
  }
}

/**
 * Returns a function that shares runs of `work`. Each call gets a run that began after the call; runs do not overlap,
 * and calls during a run share the next one. During `gather`, before a run, more calls can join it.
 */
export function coalesced<T>(work: () => Promise<T>, gather?: () => Promise<void>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= running.then(async () => {
      if (gather !== undefined) await gather();
      next = undefined;
      return await work();
    });
    running = next.catch(() => undefined);
    return next;
  };
}

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
    const run = async (): Promise<void> => {
      this.#result = await unlessFailed(this.#work(), "any", this.#result);
    };
    await withTimeout(this.#runs.get("", run), this.#limitMs);
    return this.#result;
  }
}
