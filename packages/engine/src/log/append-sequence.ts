import { resolvable } from "@cairn/kv";

interface Failure {
  readonly place: number;
  readonly error: unknown;
}

/** Messages that a log stores in the order of the calls. Once one is rejected, no later one is sent to the log. */
export class AppendSequence {
  #last = Promise.resolve();
  #places = 0;
  /** Why the earliest message that was rejected was. */
  #failure: Failure | undefined;

  /** Takes the place after those of the earlier calls. */
  take(): AppendPlace {
    const left = resolvable();
    const before = this.#last;
    this.#last = left.promise;
    this.#places += 1;
    const place = this.#places;
    return {
      reached: async () => await before,
      leave: left.resolve,
      fail: (error) => {
        if (this.#failure === undefined || place < this.#failure.place) this.#failure = { place, error };
      },
      failure: () => (this.#failure !== undefined && this.#failure.place < place ? this.#failure : undefined),
    };
  }
}

/** The place of a message in a sequence. */
export interface AppendPlace {
  /** Resolves once all earlier messages were passed to the log, or rejected. */
  reached(): Promise<void>;
  /** Lets the next message be passed to the log. May be repeated. */
  leave(): void;
  /** Tells that the message was rejected. */
  fail(error: unknown): void;
  /** Returns why an earlier message was rejected: this one must then be rejected, too, unless it was sent. */
  failure(): { readonly error: unknown } | undefined;
}
