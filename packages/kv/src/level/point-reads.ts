/** How the rows of a store are read, as bytes or as text; a row that is not there is undefined. */
export interface RowReads<Value> {
  /** In this thread. Throws what it meets. */
  now(key: Uint8Array): Value | undefined;
  /** In another thread, in one go. */
  many(keys: Uint8Array[]): Promise<(Value | undefined)[]>;
}

interface Waiting<Value> {
  readonly resolve: (value: Value | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Reads from memory take microseconds: so many of them keep the event loop for a millisecond or two. */
const MOST_A_TURN = 256;
/** Of large rows, and with what callers do with them in between, so many milliseconds. */
const LONGEST_TURN_MS = 5;
/** A read that takes longer, in milliseconds, came from a disk, or waited for a processor or for the heap's collection. */
const SLOW_MS = 0.25;
/** For a slow read the event loop waits at most this share of its time, and at most so many milliseconds before that is counted. */
const WAITING_SHARE = 1 / 20;
const WAITING_MS = 20;
/** One thread of libuv's four is left to others. More readings of fewer rows cost more than they bring. */
const MOST_UNDER_WAY = 3;
/** One thread reads them one after the other, perhaps each from the disk. */
const MOST_TOGETHER = 32;

/**
 * Reads single rows. What lies in memory is read at once, since the way to a thread and back costs more than the row does. When that
 * turns out to take longer, time and again, the rows come from a disk: then reads go to other threads until the event loop has made up
 * for it, and those that come together go in one.
 */
export class PointReads<Value> {
  readonly #rows: RowReads<Value>;
  readonly #keys: Uint8Array[] = [];
  readonly #waiting: Waiting<Value>[] = [];
  #underWay = 0;
  #leftOfTurn = MOST_A_TURN;
  #turnEndsAt = 0;
  /** When what was waited for is made up for. */
  #evenAt = 0;
  #isPlanned = false;
  #onIdle: (() => void) | undefined;

  constructor(rows: RowReads<Value>) {
    this.#rows = rows;
  }

  /** The value of a row, as of some instant between call and answer. */
  get(key: Uint8Array): Value | undefined | Promise<Value | undefined> {
    const time = performance.now();
    if (!this.#isPlanned) this.#turnEndsAt = time + LONGEST_TURN_MS;
    if (this.#keys.length === 0 && this.#mayReadAt(time)) {
      this.#plan();
      try {
        return this.#readAt(time, key);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return new Promise((resolve, reject) => {
      this.#keys.push(key);
      this.#waiting.push({ resolve, reject });
      this.#plan();
    });
  }

  /** Resolves when every read is answered; to be called once, when no more come. */
  async idle(): Promise<void> {
    if (this.#underWay === 0 && this.#keys.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #mayReadAt(time: number): boolean {
    return this.#leftOfTurn > 0 && time < this.#turnEndsAt && this.#isQuickAt(time);
  }

  /** Whether rows seem to lie in memory. */
  #isQuickAt(time: number): boolean {
    return time >= this.#evenAt - WAITING_MS / WAITING_SHARE;
  }

  #readAt(time: number, key: Uint8Array): Value | undefined {
    this.#leftOfTurn -= 1;
    try {
      return this.#rows.now(key);
    } finally {
      const end = performance.now();
      const took = end - time;
      if (took > SLOW_MS) this.#evenAt = Math.max(this.#evenAt, time) + took / WAITING_SHARE;
    }
  }

  /** Whoever reads one row after the other, and waits for nothing else, would keep the event loop for itself. */
  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      this.#leftOfTurn = MOST_A_TURN;
      const time = performance.now();
      this.#turnEndsAt = time + LONGEST_TURN_MS;
      // At least one, unless that would be slow: then at least one is sent, or under way.
      this.#readWaiting(time);
      if (this.#keys.length === 0) this.#tellIdle();
      else if (this.#isQuickAt(performance.now())) this.#plan();
      else while (this.#keys.length > 0 && this.#underWay < MOST_UNDER_WAY) void this.#send();
    });
  }

  #readWaiting(begin: number): void {
    let read = 0;
    let time = begin;
    for (const [index, key] of this.#keys.entries()) {
      if (!this.#mayReadAt(time)) break;
      const waiting = this.#waiting[index];
      try {
        waiting?.resolve(this.#readAt(time, key));
      } catch (error) {
        waiting?.reject(error);
      }
      read += 1;
      time = performance.now();
    }
    this.#keys.splice(0, read);
    this.#waiting.splice(0, read);
  }

  async #send(): Promise<void> {
    // A share for each thread that has nothing to do: all in one would keep the others idle.
    const share = Math.ceil(this.#keys.length / (MOST_UNDER_WAY - this.#underWay));
    const keys = this.#keys.splice(0, Math.min(share, MOST_TOGETHER));
    const waiting = this.#waiting.splice(0, keys.length);
    this.#underWay += 1;
    try {
      const values = await this.#rows.many(keys);
      for (const [index, { resolve }] of waiting.entries()) resolve(values[index]);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
    this.#underWay -= 1;
    if (this.#keys.length > 0) this.#plan();
    else this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#keys.length === 0 && this.#underWay === 0) this.#onIdle?.();
  }
}
