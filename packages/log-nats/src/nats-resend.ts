import { type CancelTimer, startTimer, backoffMs } from "@cairn/kv";

const BACKOFF = { firstMs: 50, maxMs: 2_000 };

interface ResendActions {
  /** Returns whether messages can be sent now. */
  readonly isPossible: () => boolean;
  /** Checks whether messages should still be sent. If it returns false, there is another lookup after the backoff. */
  readonly look: () => Promise<boolean>;
  readonly send: () => void;
}

/** Schedules the resending of unacknowledged messages after an exponential backoff and a lookup of the stream. */
export class NatsResend {
  readonly #actions: ResendActions;
  /** The number of backoffs since the last acknowledgement. */
  #backoffs = 0;
  #cancel: CancelTimer | undefined;
  /** The lookup in progress. */
  #looking: symbol | undefined;
  #closed = false;

  constructor(actions: ResendActions) {
    this.#actions = actions;
  }

  /** Schedules an attempt after the backoff, unless an attempt is already scheduled. */
  soon(): void {
    if (this.#cancel !== undefined || this.#looking !== undefined || this.#closed) return;
    this.#cancel = startTimer(backoffMs(this.#backoffs, BACKOFF), () => this.now());
    this.#backoffs += 1;
  }

  now(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#closed || !this.#actions.isPossible()) return;
    void this.#lookAndSend();
  }

  succeeded(): void {
    this.#backoffs = 0;
  }

  /** Discards the result of the lookup in progress. */
  interrupt(): void {
    this.#looking = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
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
