import { pauseAfter } from "./fair-reads.ts";

/** The most that a watcher writes to its connection in one turn. Its connection holds no more than this. */
export const WRITE_BYTES = 32 * 1024;
/** The number of turns after which other work is next. Encrypting and sending this much takes a few milliseconds. */
const TURNS_TOGETHER = 8;

/**
 * The turns of watchers to write large events to their connections, in the order of their requests. Together, they use
 * at most the share of the thread that {@link pauseAfter} leaves to watches. Small events need no turn.
 */
class WriteTurns {
  readonly #waiting: (() => void)[] = [];
  #isRunning = false;

  /** Waits for the next turn. It lasts until the callbacks that are then due have run. */
  async take(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const busyMs = await new Promise<number>((resolve) => {
        let begunAt = 0;
        setImmediate(() => {
          begunAt = performance.now();
          for (const begin of this.#waiting.splice(0, TURNS_TOGETHER)) begin();
        });
        // Between the two, Node runs the writes, and nothing else.
        setImmediate(() => resolve(performance.now() - begunAt));
      });
      await pauseAfter(busyMs);
    }
    this.#isRunning = false;
  }
}

/** All nodes and servers of a thread share it. */
export const WRITE_TURNS = new WriteTurns();
