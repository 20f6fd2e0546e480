import { availableParallelism } from "node:os";
import { performance } from "node:perf_hooks";

/** At most this much is processed between two checks of the throttle: a few hundredths of a millisecond of work. */
export const SLICE_BYTES = 64 * 1024;

// Fields of the memory that the threads share.
const BUSY = 0;
const NEVER_CHANGED = 1;
/** The field for the time to sleep after each slice, in microseconds. */
const SLEEP_US = 2;
const FIELDS = 3;

/** The number of archive bytes per second that one processor can spare while other threads have work to do. */
const SPARE_BYTES_PER_SECOND = 12 * 1024 * 1024;

/**
 * Returns the rate of background threads while the main thread is busy (bytes per second); higher only if all `bytes`
 * would take longer than `withinMs`. On two processors, a concurrent writer's p99 latency was 1.2 times its normal
 * value at 16 MB/s, 3 times at 80 MB/s and 12 times at full speed, whatever the threads' priority (`pnpm bench --only
 * writer`): others also wait for the work that the threads cause in the kernel and in V8.
 */
export function backgroundRate(
  bytes: number,
  withinMs = Number.POSITIVE_INFINITY,
  processors = availableParallelism(),
): number {
  return Math.max(SPARE_BYTES_PER_SECOND * processors, bytes / (withinMs / 1000));
}

/** A rate limit for background threads, in force only while the thread that set it is busy. */
export class Throttle {
  readonly shared: Int32Array;
  readonly #passes: number;
  #bytes = 0;

  /** `passes` is the number of times a thread processes each byte, calling {@link pause} each time. */
  constructor(shared: Int32Array = new Int32Array(new SharedArrayBuffer(4 * FIELDS)), passes = 1) {
    this.shared = shared;
    this.#passes = passes;
  }

  /** Records whether the thread that has priority is busy. Called by that thread. */
  setBusy(busy: boolean): void {
    Atomics.store(this.shared, BUSY, busy ? 1 : 0);
  }

  setRate(bytesPerSecond: number): void {
    Atomics.store(this.shared, SLEEP_US, Math.ceil((SLICE_BYTES / bytesPerSecond) * 1e6));
  }

  /** Blocks the thread as the rate requires. Must be called after each slice, but never on the thread with priority. */
  pause(bytes = SLICE_BYTES): void {
    if (Atomics.load(this.shared, BUSY) === 0) {
      this.#bytes = 0;
      return;
    }
    this.#bytes += bytes;
    if (this.#bytes < SLICE_BYTES) return;
    const sleepMs = (Atomics.load(this.shared, SLEEP_US) / 1000) * (this.#bytes / SLICE_BYTES / this.#passes);
    this.#bytes = 0;
    Atomics.wait(this.shared, NEVER_CHANGED, 0, sleepMs);
  }

  slices(bytes: Buffer, work: (slice: Buffer) => void): void {
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES);
      work(slice);
      this.pause(slice.length);
    }
  }
}

const SAMPLE_MS = 25;
/** The duration of each of the first {@link SAMPLES}, so that work on an idle node soon runs at full speed. */
const FIRST_SAMPLE_MS = 5;
/** The utilization up to which this thread counts as idle. Sampling and receiving progress messages alone take 1 %. */
const IDLE_UTILIZATION = 0.02;
/** The number of samples. Their majority decides, so that a single task does not change the result. */
const SAMPLES = 5;

/**
 * Limits background threads while this thread is busy and needs the processors, but not once `hurry` is aborted, until
 * `stop` is called.
 */
export function throttleWhileBusy(bytesPerSecond: number, hurry?: AbortSignal) {
  const throttle = new Throttle();
  throttle.setRate(bytesPerSecond);
  // Until the first samples are available, this thread counts as busy.
  throttle.setBusy(hurry?.aborted !== true);
  let before = performance.eventLoopUtilization();
  let samples: boolean[] = [];
  const sample = (): void => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    samples = [...samples.slice(1 - SAMPLES), utilization > IDLE_UTILIZATION];
    before = now;
    const busy = samples.filter(Boolean).length;
    if (hurry?.aborted === true) throttle.setBusy(false);
    else if (busy > SAMPLES / 2) throttle.setBusy(true);
    else if (samples.length - busy > SAMPLES / 2) throttle.setBusy(false);
    timer = setTimeout(sample, samples.length < SAMPLES ? FIRST_SAMPLE_MS : SAMPLE_MS).unref();
  };
  let timer = setTimeout(sample, FIRST_SAMPLE_MS).unref();
  return { shared: throttle.shared, stop: () => clearTimeout(timer) };
}
