import { backoffMs } from "@cairn/checkpoint";

const PAUSES = { firstMs: 50, maxMs: 2_000 };

/** What {@link NatsResend} does. */
export interface ResendActions {
  /** Whether anything can be sent now. */
  readonly isPossible: () => boolean;
  /** Looks whether what waits should still be sent; false asks for another look after a pause. */
  readonly look: () => Promise<boolean>;
  readonly send: () => void;
}

/** When everything that is not acknowledged is sent again: after a pause that grows until something is, and a look at what it is sent to. */
export class NatsResend {
  readonly #actions: ResendActions;
  /** Pauses since anything was acknowledged. */
  #pauses = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The look that is under way. */
  #looking: symbol | undefined;
  #closed = false;

  constructor(actions: ResendActions) {
    this.#actions = actions;
  }

  /** After a pause, unless it is planned already. */
  soon(): void {
    if (this.#timer !== undefined || this.#looking !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => this.now(), backoffMs(this.#pauses, PAUSES));
    this.#pauses += 1;
  }

  now(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#closed || !this.#actions.isPossible()) return;
    void this.#lookAndSend();
  }

  /** Something was acknowledged. */
  succeeded(): void {
    this.#pauses = 0;
  }

  /** What a look under way finds does not count any more. */
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
    const goesOn = await this.#actions.look();
    if (this.#looking !== look || this.#closed) return;
    this.#looking = undefined;
    if (goesOn) this.#actions.send();
    else this.soon();
  }
}
