/** Buffers come in multiples of this size, so that one can be reused for any segment of about the same size. */
const STEP_BYTES = 1024 * 1024;

/**
 * The buffers for the segments that one reader of a log holds at a time. They are reused for later segments, because V8
 * collects large buffers late: without reuse, a replay would hold a dozen segments that it has already applied.
 */
export class SegmentBuffers {
  readonly #free: Buffer[] = [];

  /** Returns a buffer of at least this size, with any content. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex(({ length }) => length >= bytes);
    // If no free buffer is large enough, the new one replaces one of them, so that there are never more buffers than
    // were in use at one time.
    const [free] = at < 0 ? [] : this.#free.splice(at, 1);
    if (free === undefined) this.#free.pop();
    return free ?? Buffer.allocUnsafeSlow(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES);
  }

  /** Accepts a buffer for reuse. The caller must no longer use it, nor any view into it. */
  give(buffer: Buffer): void {
    this.#free.push(buffer);
  }
}
