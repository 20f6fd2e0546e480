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

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Returns the value of a key. If it is not kept, loads it, unless it is being loaded. Failures are not kept. */
  get(key: string, load: () => Promise<readonly [value: T, bytes: number]>): T | Promise<T> {
    const known = this.#entries.get(key);
    if (known === undefined) {
      const value = this.#load(key, load());
      this.#entries.set(key, { value, bytes: 0 });
      return value;
    }
    // A map is in the order of its insertions.
    this.#entries.delete(key);
    this.#entries.set(key, known);
    return known.value;
  }

  async #load(key: string, loading: Promise<readonly [value: T, bytes: number]>): Promise<T> {
    try {
      const [value, bytes] = await loading;
      this.#entries.delete(key);
      this.#entries.set(key, { value, bytes });
      this.#bytes += bytes;
      this.#shrink();
      return value;
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
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
