import { availableParallelism } from "node:os";

/** What a thread does between two looks at whether to rest, in bytes: a few hundredths of a millisecond. */
export const SLICE = 64 * 1024;

const BUSY = 0;
const NEVER_CHANGED = 1;
const REST = 2;
const FIELDS = 3;

/** Bytes a second of an archive that one processor has to spare while others want to work. */
const SPARE = 12 * 1024 * 1024;

/**
 * How fast background threads go on while others want to work, in bytes a second. On two processors p99 of a writer beside them was 1.2
 * times what it was without them at 16 MB/s, 3 times at 80 and 12 times at full speed, whatever their priority (`pnpm bench --only
 * writer`): it is not the work of these threads alone that others wait for, but what it makes the kernel and V8 do. Faster only where
 * the whole, `bytes` long, would otherwise take longer than `withinMs`.
 */
export function gentleRate(
  bytes: number,
  withinMs = Number.POSITIVE_INFINITY,
  processors = availableParallelism(),
): number {
  return Math.max(SPARE * processors, bytes / (withinMs / 1000));
}

/** How threads that work in the background give way. */
export class Pace {
  /** To be given to other threads. */
  readonly shared: Int32Array;
  readonly #passes: number;
  /** Worked on since the last rest. */
  #bytes = 0;

  /** `passes`: how often a thread goes over each byte, and tells of it by {@link between}. */
  constructor(shared: Int32Array = new Int32Array(new SharedArrayBuffer(4 * FIELDS)), passes = 1) {
    this.shared = shared;
    this.#passes = passes;
  }

  /** Told by the thread that others wait for. */
  setBusy(busy: boolean): void {
    Atomics.store(this.shared, BUSY, busy ? 1 : 0);
  }

  /** How many bytes a second others shall work on while this thread is busy. */
  setRate(bytesPerSecond: number): void {
    Atomics.store(this.shared, REST, Math.ceil((SLICE / bytesPerSecond) * 1e6));
  }

  /** To be called between two slices; rests when somebody is busy. Not for a thread that others wait for. */
  between(bytes = SLICE): void {
    if (Atomics.load(this.shared, BUSY) === 0) {
      this.#bytes = 0;
      return;
    }
    this.#bytes += bytes;
    if (this.#bytes < SLICE) return;
    const rest = (Atomics.load(this.shared, REST) / 1000) * (this.#bytes / SLICE / this.#passes);
    this.#bytes = 0;
    Atomics.wait(this.shared, NEVER_CHANGED, 0, rest);
  }

  /** Does `work` for each slice of `bytes`, with a rest between. */
  slices(bytes: Buffer, work: (slice: Buffer) => void): void {
    for (let at = 0; at < bytes.length; at += SLICE) {
      const slice = bytes.subarray(at, at + SLICE);
      work(slice);
      this.between(slice.length);
    }
  }
}
