interface Entry<T> {
  readonly value: T | Promise<T>;
  readonly bytes: number;
}

/** Keeps what was used most recently, up to a number of bytes. What is still being loaded is kept as well. */
export class RecentlyUsed<T extends object> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #limit: number;
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Returns the value of a key. If it is not kept, loads it, unless it is being loaded. Failures are not kept. */
  get(key: string, load: () => Promise<readonly [value: T, bytes: number]>): T | Promise<T> {
    const known = this.#entries.get(key);
    if (known === undefined) return this.#load(key, load());
    // A map is in the order of its insertions.
    this.#entries.delete(key);
    this.#entries.set(key, known);
    return known.value;
  }

  async #load(key: string, loading: Promise<readonly [value: T, bytes: number]>): Promise<T> {
    const value = (async () => {
      try {
        const [loaded, bytes] = await loading;
        this.#entries.delete(key);
        this.#entries.set(key, { value: loaded, bytes });
        this.#bytes += bytes;
        this.#shrink();
        return loaded;
      } catch (error) {
        this.#entries.delete(key);
        throw error;
      }
    })();
    this.#entries.set(key, { value, bytes: 0 });
    return await value;
  }

  #shrink(): void {
    for (const [key, { bytes }] of this.#entries) {
      if (this.#bytes <= this.#limit) return;
      if (bytes === 0) continue;
      this.#entries.delete(key);
      this.#bytes -= bytes;
    }
  }
}
