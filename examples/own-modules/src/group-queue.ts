/** An item that waits to be stored. */
interface Waiting<T, R> {
  readonly item: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Stores items in groups, in the order of the calls. Items that arrive while a group is being stored form the next one, so that many
 * writers share one flush. If storing a group fails, all its items fail.
 */
export class GroupQueue<T, R> {
  readonly #sizeOf: (item: T) => number;
  readonly #store: (group: readonly T[]) => Promise<readonly R[]>;
  readonly #maxSize: number;
  #waiting: Waiting<T, R>[] = [];
  #running: Promise<void> | undefined;

  constructor(
    store: (group: readonly T[]) => Promise<readonly R[]>,
    sizeOf: (item: T) => number,
    maxSize: number,
  ) {
    this.#store = store;
    this.#sizeOf = sizeOf;
    this.#maxSize = maxSize;
  }

  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves once no item is waiting. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Calls in the same turn of the event loop form one group.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        const results = await this.#store(group.map(({ item }) => item));
        for (const [index, result] of results.entries()) group[index]?.resolve(result);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.#running = undefined;
  }

  #takeGroup(): Waiting<T, R>[] {
    let size = 0;
    let count = 0;
    for (const { item } of this.#waiting) {
      size += this.#sizeOf(item);
      if (count > 0 && size > this.#maxSize) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }
}
