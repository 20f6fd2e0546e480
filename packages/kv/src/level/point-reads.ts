/** The functions return undefined for a row that does not exist. */
export interface RowReads<Value> {
  /** Reads a row on this thread. Throws if the read fails. */
  now(key: Uint8Array): Value | undefined;
  /** Reads several rows in one request on another thread. */
  many(keys: Uint8Array[]): Promise<(Value | undefined)[]>;
}

interface Waiting<Value> {
  readonly key: Uint8Array;
  readonly resolve: (value: Value | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** A read from memory takes microseconds, so a turn blocks the event loop for a millisecond or two. */
const MAX_READS_PER_TURN = 256;
/** Ends a turn early for large rows, and for callers that do other work between reads. */
const MAX_TURN_MS = 5;
/** A slower read came from a disk, or waited for a processor or the garbage collector. */
const SLOW_MS = 0.25;
/** The maximum share of its time that the event loop spends on slow reads, after an allowance in milliseconds. */
const SLOW_SHARE = 1 / 20;
const SLOW_ALLOWANCE_MS = 20;
/** Leaves one of libuv's four threads for other work. More requests with fewer rows would cost more than they gain. */
const MAX_IN_FLIGHT = 3;
/** The maximum number of rows per request. A thread reads them in sequence, perhaps each one from the disk. */
const MAX_ROWS_PER_REQUEST = 32;

/**
 * Reads single rows. Rows in memory are read synchronously, because passing a read to a thread and back costs more than
 * the read itself. If reads repeatedly take longer, the rows come from a disk. Reads then go to other threads until the
 * event loop has made up for the lost time, and concurrent reads are combined.
 */
export class PointReads<Value> {
  readonly #rows: RowReads<Value>;
  readonly #waiting: Waiting<Value>[] = [];
  #inFlight = 0;
  #leftOfTurn = MAX_READS_PER_TURN;
  #turnEndsAt = 0;
  /** The time at which the event loop will have made up for slow reads. */
  #balancedAt = 0;
  #isPlanned = false;
  #onIdle: (() => void) | undefined;

  constructor(rows: RowReads<Value>) {
    this.#rows = rows;
  }

  /** Returns the value of a row, as of some moment between the call and its result. */
  get(key: Uint8Array): Value | undefined | Promise<Value | undefined> {
    const time = performance.now();
    if (!this.#isPlanned) this.#turnEndsAt = time + MAX_TURN_MS;
    if (this.#waiting.length === 0 && this.#mayReadAt(time)) {
      this.#plan();
      try {
        return this.#readAt(time, key);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject });
      this.#plan();
    });
  }

  /** Waits until all reads have ended. Must be called only once, when no more reads follow. */
  async idle(): Promise<void> {
    if (this.#inFlight === 0 && this.#waiting.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #mayReadAt(time: number): boolean {
    return this.#leftOfTurn > 0 && time < this.#turnEndsAt && this.#isQuickAt(time);
  }

  /** Returns whether rows seem to be in memory. */
  #isQuickAt(time: number): boolean {
    return time >= this.#balancedAt - SLOW_ALLOWANCE_MS / SLOW_SHARE;
  }

  #readAt(time: number, key: Uint8Array): Value | undefined {
    this.#leftOfTurn -= 1;
    try {
      return this.#rows.now(key);
    } finally {
      const end = performance.now();
      const took = end - time;
      if (took > SLOW_MS) this.#balancedAt = Math.max(this.#balancedAt, time) + took / SLOW_SHARE;
    }
  }

  /**
   * Schedules the waiting reads for a later turn. Otherwise, a caller that awaits one read after another would block
   * the event loop.
   */
  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      this.#leftOfTurn = MAX_READS_PER_TURN;
      const time = performance.now();
      this.#turnEndsAt = time + MAX_TURN_MS;
      // At least one read is performed here unless reads are slow, in which case at least one is sent or in flight.
      this.#readWaiting(time);
      if (this.#waiting.length === 0) this.#checkIdle();
      else if (this.#isQuickAt(performance.now())) this.#plan();
      else while (this.#waiting.length > 0 && this.#inFlight < MAX_IN_FLIGHT) void this.#send();
    });
  }

  #readWaiting(begin: number): void {
    let read = 0;
    let time = begin;
    for (const { key, resolve, reject } of this.#waiting) {
      if (!this.#mayReadAt(time)) break;
      try {
        resolve(this.#readAt(time, key));
      } catch (error) {
        reject(error);
      }
      read += 1;
      time = performance.now();
    }
    this.#waiting.splice(0, read);
  }

  async #send(): Promise<void> {
    // Each idle thread receives an equal share.
    const share = Math.ceil(this.#waiting.length / (MAX_IN_FLIGHT - this.#inFlight));
    const waiting = this.#waiting.splice(0, Math.min(share, MAX_ROWS_PER_REQUEST));
    this.#inFlight += 1;
    try {
      const values = await this.#rows.many(waiting.map(({ key }) => key));
      for (const [index, { resolve }] of waiting.entries()) resolve(values[index]);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
    this.#inFlight -= 1;
    if (this.#waiting.length > 0) this.#plan();
    else this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#waiting.length === 0 && this.#inFlight === 0) this.#onIdle?.();
  }
}
