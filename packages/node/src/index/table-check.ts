import type { IndexStore } from "./index-store.ts";

/** Who is told of a {@link TableCheck}. */
export interface TableCheckListener {
  /** How many bytes of how many are compared, once somebody waits for it. */
  progressed(done: number, total: number): void;
  /** The index is damaged, or could not be read; not told of one that is closed before. */
  failed(error: unknown): void;
}

/**
 * The wait for the tables that an earlier life of an index left to be compared with their checksums. Until then a row that damage hides
 * would be answered as one that never was.
 */
export class TableCheck {
  readonly #whole: Promise<boolean>;
  #isAwaited = false;

  constructor(index: IndexStore, listener: TableCheckListener) {
    this.#whole = this.#wait(index, listener);
  }

  /** Whether they are what was written; the listener was told why not. */
  async whole(): Promise<boolean> {
    this.#isAwaited = true;
    return await this.#whole;
  }

  async #wait(index: IndexStore, listener: TableCheckListener): Promise<boolean> {
    try {
      await index.checked((done, total) => {
        // Before, the replay is what /status shows.
        if (this.#isAwaited) listener.progressed(done, total);
      });
      return true;
    } catch (error) {
      listener.failed(error);
      return false;
    }
  }
}
