/** Reads rows in one go; a row that is not there is undefined. */
type ReadMany = (keys: Uint8Array[]) => Promise<(Uint8Array | undefined)[]>;

interface Waiting {
  readonly resolve: (value: Uint8Array | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** One thread of libuv's four is left to others. More readings of fewer rows cost more than they bring. */
const MOST_UNDER_WAY = 3;
/** One thread reads them one after the other, perhaps each from the disk. */
const MOST_TOGETHER = 32;

/**
 * Sends point reads that come together to the store together: the way to a thread and back costs more than a cached row does. One that
 * comes alone waits for no other.
 */
export class GatheredReads {
  readonly #readMany: ReadMany;
  readonly #keys: Uint8Array[] = [];
  readonly #waiting: Waiting[] = [];
  #underWay = 0;
  #isPlanned = false;
  #onIdle: (() => void) | undefined;

  constructor(readMany: ReadMany) {
    this.#readMany = readMany;
  }

  /** The value of a row, as of some instant between call and answer. */
  get(key: Uint8Array): Promise<Uint8Array | undefined> {
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

  #plan(): void {
    if (this.#isPlanned || this.#underWay === MOST_UNDER_WAY) return;
    this.#isPlanned = true;
    // Once all have asked who go on in this turn of the event loop.
    setImmediate(() => {
      this.#isPlanned = false;
      while (this.#keys.length > 0 && this.#underWay < MOST_UNDER_WAY) void this.#send();
    });
  }

  async #send(): Promise<void> {
    // A share for each thread that has nothing to do: all in one would keep the others idle.
    const share = Math.ceil(this.#keys.length / (MOST_UNDER_WAY - this.#underWay));
    const keys = this.#keys.splice(0, Math.min(share, MOST_TOGETHER));
    const waiting = this.#waiting.splice(0, keys.length);
    this.#underWay += 1;
    try {
      const values = await this.#readMany(keys);
      for (const [index, { resolve }] of waiting.entries()) resolve(values[index]);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
    this.#underWay -= 1;
    if (this.#keys.length > 0) this.#plan();
    else if (this.#underWay === 0) this.#onIdle?.();
  }
}
