/** How long message ids are remembered at least, in milliseconds; as long as NATS does by default. */
export const MESSAGE_ID_WINDOW_MS = 120_000;

/**
 * The positions of recent message ids. An id is kept for one window at least and two at most: two generations that are
 * dropped whole cost less than a time for each id.
 */
export class MessageIdMemory {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #since = Number.POSITIVE_INFINITY;

  /** The position stored under `id`, or undefined. */
  get(id: string): number | undefined {
    return this.#young.get(id) ?? this.#old.get(id);
  }

  /** Remembers `id`, stored at `time` (milliseconds). A clock that is set back only makes ids stay longer. */
  add(id: string, position: number, time: number): void {
    this.#since = Math.min(this.#since, time);
    if (time - this.#since >= MESSAGE_ID_WINDOW_MS) {
      this.#old = time - this.#since >= 2 * MESSAGE_ID_WINDOW_MS ? new Map() : this.#young;
      this.#young = new Map();
      this.#since = time;
    }
    this.#young.set(id, position);
  }
}
