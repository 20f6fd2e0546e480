/** The maximum time for which consecutive reads block timers, sockets and the log. */
const MAX_SLICE_MS = 5;

/** Yields when reads have used up their slice: reads in memory never do, and would block timers and sockets. */
export class TimeSlice {
  #endsAt = 0;
  #isRunning = false;

  /**
   * Yields if the slice is over; the caller must await the result before the next read. Returns undefined while time
   * remains, because it costs nearly as much to create a promise as to read a row from memory.
   */
  yieldIfOver(): Promise<void> | undefined {
    const now = performance.now();
    if (!this.#isRunning) {
      this.#isRunning = true;
      this.#endsAt = now + MAX_SLICE_MS;
      setImmediate(() => {
        this.#isRunning = false;
      });
    }
    return now < this.#endsAt ? undefined : new Promise(setImmediate);
  }

  /** Waits for a slice with time left. Of many that wait, one at least is next in each turn of the event loop. */
  async turn(): Promise<void> {
    for (let over = this.yieldIfOver(); over !== undefined; over = this.yieldIfOver()) await over;
  }
}

/** The slice of what a large transaction passes through in a thread, which yields between its steps. */
export const TRANSACTION_SLICE = new TimeSlice();
