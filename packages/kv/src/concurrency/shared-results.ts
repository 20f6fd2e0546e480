/** Calls with the same key share a run and, for `keepMs` (default 0), its result. Errors are shared, but not kept. */
export class SharedResults<T> {
  readonly #keepMs: number;
  readonly #now: () => number;
  readonly #runs = new Map<string, { readonly result: Promise<T>; endedAt: number | undefined }>();

  constructor(keepMs = 0, now: () => number = () => performance.now()) {
    this.#keepMs = keepMs;
    this.#now = now;
  }

  async get(key: string, work: () => Promise<T>): Promise<T> {
    for (const [known, { endedAt }] of this.#runs) {
      if (endedAt !== undefined && this.#now() - endedAt >= this.#keepMs) this.#runs.delete(known);
    }
    const known = this.#runs.get(key);
    if (known !== undefined) return await known.result;
    const run = { result: work(), endedAt: undefined as number | undefined };
    this.#runs.set(key, run);
    try {
      const result = await run.result;
      run.endedAt = this.#now();
      return result;
    } catch (error) {
      this.#runs.delete(key);
      throw error;
    }
  }
}
