/** What a thread does between two looks at whether to rest, in bytes: a few hundredths of a millisecond. */
export const SLICE = 64 * 1024;

/** How long a thread works and then rests while others want to work (ms): as long as who wants its processor may have to wait. */
const WORK_MS = 0.1;
const REST_MS = 0.2;
const BUSY = 0;
const NEVER_CHANGED = 1;

/**
 * How threads that work in the background give way. A low priority is not enough: without these rests the p99 of a writer beside
 * them was 2.9 ms instead of 1.1, with the lowest priority of all (bench/README.md has the figures as they are now).
 */
export class Pace {
  /** To be given to other threads. */
  readonly shared: Int32Array;
  #rested = 0;

  constructor(shared: Int32Array = new Int32Array(new SharedArrayBuffer(8))) {
    this.shared = shared;
  }

  /** Told by the thread that others wait for. */
  setBusy(busy: boolean): void {
    Atomics.store(this.shared, BUSY, busy ? 1 : 0);
  }

  /** To be called between two slices; rests when somebody is busy. Not for a thread that others wait for. */
  between(): void {
    if (Atomics.load(this.shared, BUSY) === 0 || performance.now() - this.#rested < WORK_MS) return;
    Atomics.wait(this.shared, NEVER_CHANGED, 0, REST_MS);
    this.#rested = performance.now();
  }

  /** Does `work` for each slice of `bytes`, with a rest between. */
  slices(bytes: Buffer, work: (slice: Buffer) => void): void {
    for (let at = 0; at < bytes.length; at += SLICE) {
      work(bytes.subarray(at, at + SLICE));
      this.between();
    }
  }
}
