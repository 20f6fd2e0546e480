/** Buffers are allocated in multiples of this size, so that one can hold any of several segments of about the same size. */
const STEP_BYTES = 1024 * 1024;

/**
 * The memory of the segments that one reading holds at a time. It is used again for later segments, because V8 collects
 * large buffers late: without this, a replay held a dozen segments that it had already applied.
 */
export class SegmentBuffers {
  readonly #free: Buffer[] = [];

  /** Returns a buffer of at least this size, with any content. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex(({ length }) => length >= bytes);
    // A smaller buffer is given up for a larger one, so that there are never more than were in use at one time.
    const [free] = at < 0 ? [] : this.#free.splice(at, 1);
    if (free === undefined) this.#free.pop();
    return free ?? Buffer.allocUnsafeSlow(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES);
  }

  /** Accepts a buffer for reuse. The caller must no longer use it, nor any view into it. */
  give(buffer: Buffer): void {
    this.#free.push(buffer);
  }
}
