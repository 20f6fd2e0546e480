/** Work for which a close waits. */
export class RunningWork {
  readonly #running = new Set<Promise<unknown>>();

  async track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Resolves once all work has ended, with whatever result. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running);
  }
}
