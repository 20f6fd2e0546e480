/** Whoever else waits for the event loop waits no longer than that for reads, and for what is done with them. */
const LONGEST_TURN_MS = 5;

/**
 * Lets the event loop turn now and then while somebody reads one thing after the other. What a store has at hand comes without a turn,
 * so that such a reader would keep timers, sockets and the log waiting until it is done.
 */
export class EventLoopTurn {
  #endsAt = 0;
  #isUnderWay = false;

  /** To be awaited before going on; undefined where nothing has to be: a promise is a good part of what a row from memory costs. */
  pause(): Promise<void> | undefined {
    const now = performance.now();
    if (!this.#isUnderWay) {
      this.#isUnderWay = true;
      this.#endsAt = now + LONGEST_TURN_MS;
      setImmediate(() => {
        this.#isUnderWay = false;
      });
    }
    return now < this.#endsAt ? undefined : new Promise(setImmediate);
  }
}
