const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 2_000;

/** Actions of a {@link NatsResend}. */
interface ResendActions {
  /** Whether anything can be sent now. */
  readonly isPossible: () => boolean;
  /** Checks whether messages should still be sent; false asks for another look after the backoff. */
  readonly look: () => Promise<boolean>;
  readonly send: () => void;
}

/** Schedules sending again what is unacknowledged: after an exponential backoff, and a look at the stream. */
export class NatsResend {
  readonly #actions: ResendActions;
  /** The last backoff (ms); 0 after an acknowledgement. */
  #backoff = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The look in progress. */
  #looking: symbol | undefined;
  #closed = false;

  constructor(actions: ResendActions) {
    this.#actions = actions;
  }

  /** Schedules an attempt after the backoff, unless one is scheduled. */
  soon(): void {
    if (this.#timer !== undefined || this.#looking !== undefined || this.#closed) return;
    this.#backoff = Math.min(MAX_BACKOFF_MS, Math.max(MIN_BACKOFF_MS, this.#backoff * 2));
    this.#timer = setTimeout(() => this.now(), this.#backoff);
  }

  now(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#closed || !this.#actions.isPossible()) return;
    void this.#lookAndSend();
  }

  /** Resets the backoff after an acknowledgement. */
  succeeded(): void {
    this.#backoff = 0;
  }

  /** Discards the result of a look in progress. */
  interrupt(): void {
    this.#looking = undefined;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #lookAndSend(): Promise<void> {
    const look = Symbol("look");
    this.#looking = look;
    const shouldSend = await this.#actions.look();
    if (this.#looking !== look || this.#closed) return;
    this.#looking = undefined;
    if (shouldSend) this.#actions.send();
    else this.soon();
  }
}
