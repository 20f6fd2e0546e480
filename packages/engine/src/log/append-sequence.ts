export interface AppendPlace {
  /**
   * Resolves once all earlier messages were passed to the log, rejected, or found in it. Returns undefined, which costs
   * no turn, if they were already.
   */
  reached(): Promise<void> | undefined;
  /** Lets the next message be passed to the log. May be repeated. */
  leave(): void;
  fail(error: unknown): void;
  /** Returns why an earlier message was rejected: this one must then be rejected, too, unless it was sent. */
  failure(): { readonly error: unknown } | undefined;
}

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
    const place = this.#places;
    return {
      reached: () =>
        this.#passed >= place - 1
          ? undefined
          : new Promise((resolve) => {
              this.#waiting.set(place, resolve);
            }),
      leave: () => {
        this.#leave(place);
      },
      fail: (error) => {
        if (this.#failure === undefined || place < this.#failure.place) this.#failure = { place, error };
      },
      failure: () => (this.#failure !== undefined && this.#failure.place < place ? this.#failure : undefined),
    };
  }

  #leave(place: number): void {
    if (place > this.#passed) this.#leftEarly.add(place);
    while (this.#leftEarly.delete(this.#passed + 1)) {
      this.#passed += 1;
      this.#waiting.get(this.#passed + 1)?.();
      this.#waiting.delete(this.#passed + 1);
    }
  }
}
