import type { IndexStore } from "./index-store.ts";

/** Events of a {@link TableCheck}. */
interface TableCheckListener {
  /** How many bytes of how many are compared; reported once the result is awaited. */
  progressed(done: number, total: number): void;
  /** The index is damaged, or could not be read. Not called if it is closed before. */
  failed(error: unknown): void;
}

/**
 * Waits until the tables that an earlier process left are compared with their checksums. Until then, a row hidden by damage would be reported
 * as absent.
 */
export class TableCheck {
  readonly #whole: Promise<boolean>;
  #isAwaited = false;

  constructor(index: IndexStore, listener: TableCheckListener) {
    this.#whole = this.#wait(index, listener);
  }

  /** Whether the tables are intact; if not, the listener was called with the reason. */
  async whole(): Promise<boolean> {
    this.#isAwaited = true;
    return await this.#whole;
  }

  async #wait(index: IndexStore, listener: TableCheckListener): Promise<boolean> {
    try {
      await index.checked((done, total) => {
        // Before that, /status shows the replay.
        if (this.#isAwaited) listener.progressed(done, total);
      });
      return true;
    } catch (error) {
      listener.failed(error);
      return false;
    }
  }
}
