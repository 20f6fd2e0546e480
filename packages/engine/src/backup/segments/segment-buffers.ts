/** Buffers come in multiples of this size, so that one can be reused for any segment of about the same size. */
const STEP_BYTES = 1024 * 1024;

/**
 * Reuses buffers of the segments that a reader of a log holds at a time. V8 collects large buffers so late that a
 * replay would hold a dozen applied segments.
 */
export class SegmentBuffers {
  readonly #free: Buffer[] = [];

  /** Returns a buffer of at least this size, with any content. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex(({ length }) => length >= bytes);
    // A new buffer replaces a free one that is too small, so there are never more than were in use at one time.
    const [free] = at < 0 ? [] : this.#free.splice(at, 1);
    if (free === undefined) this.#free.pop();
    return free ?? Buffer.allocUnsafeSlow(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES);
  }

  /** Accepts a buffer for reuse. The caller must no longer use it, nor any view into it. */
  give(buffer: Buffer): void {
    this.#free.push(buffer);
  }
}
