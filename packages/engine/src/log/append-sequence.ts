/** Messages that a log stores in the order of the calls. Once one is rejected, no later one is sent to the log. */
export class AppendSequence {
  #places = 0;
  /** All places up to this one were left. */
  #passed = 0;
  /** Places that were left before an earlier one was. */
  readonly #leftEarly = new Set<number>();
  readonly #waiting = new Map<number, () => void>();
  /** Why the earliest message that was rejected was. */
  #failure: { readonly place: number; readonly error: unknown } | undefined;

  /** Takes the place after those of the earlier calls. */
  take(): AppendPlace {
    this.#places += 1;
    return new AppendPlace(this, this.#places);
  }

  /** See {@link AppendPlace.reached}. */
  reached(place: number): Promise<void> | undefined {
    if (this.#passed >= place - 1) return undefined;
    return new Promise((resolve) => {
      this.#waiting.set(place, resolve);
    });
  }

  leave(place: number): void {
    if (place > this.#passed) this.#leftEarly.add(place);
    while (this.#leftEarly.delete(this.#passed + 1)) {
      this.#passed += 1;
      this.#waiting.get(this.#passed + 1)?.();
      this.#waiting.delete(this.#passed + 1);
    }
  }

  fail(place: number, error: unknown): void {
    if (this.#failure === undefined || place < this.#failure.place) this.#failure = { place, error };
  }

  failureBefore(place: number): { readonly error: unknown } | undefined {
    return this.#failure !== undefined && this.#failure.place < place ? this.#failure : undefined;
  }
}

/** The place of a message in a sequence. */
export class AppendPlace {
  readonly #sequence: AppendSequence;
  readonly #number: number;

  constructor(sequence: AppendSequence, number: number) {
    this.#sequence = sequence;
    this.#number = number;
  }

  /**
   * Resolves once all earlier messages were passed to the log, rejected, or found in it. Returns undefined, which costs
   * no turn, if they were already.
   */
  reached(): Promise<void> | undefined {
    return this.#sequence.reached(this.#number);
  }

  /** Lets the next message be passed to the log. May be repeated. */
  leave(): void {
    this.#sequence.leave(this.#number);
  }

  /** Tells that the message was rejected. */
  fail(error: unknown): void {
    this.#sequence.fail(this.#number, error);
  }

  /** Returns why an earlier message was rejected: this one must then be rejected, too, unless it was sent. */
  failure(): { readonly error: unknown } | undefined {
    return this.#sequence.failureBefore(this.#number);
  }
}
