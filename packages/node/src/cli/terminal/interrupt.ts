import { constants } from "node:os";
import type { Terminal } from "./terminal.ts";

/** What ends a command that works: Ctrl-C, a service manager or `timeout`, a session that closes. Copies of an index must not stay. */
export const ENDING: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** A command that a signal ended before its work was done. */
export class InterruptedError extends Error {
  readonly #by: NodeJS.Signals;
  readonly hint: string | undefined;

  /** `left` says what is the case now, such as "nothing was verified". */
  constructor(by: NodeJS.Signals, left: string, hint?: string) {
    super(`Interrupted; ${left}.`);
    this.name = "InterruptedError";
    this.#by = by;
    this.hint = hint;
  }

  /** As of a process that the signal ended: 128 and the signal's number. */
  get exitCode(): number {
    return 128 + constants.signals[this.#by];
  }

  /** The same, where what it left is only known once the work has ended. */
  leaving(left: string, hint: string): InterruptedError {
    return new InterruptedError(this.#by, left, hint);
  }
}

/** Work that a signal ends. */
export interface Interruptible {
  /** Aborted, with an {@link InterruptedError}, by the first signal that comes. */
  readonly signal: AbortSignal;
  /** The work is done: signals end the process again. */
  readonly forget: () => void;
}

/** From now on a signal ends the work in order. */
export function interruptible(terminal: Terminal, left: string, hint?: string): Interruptible {
  const stop = new AbortController();
  const forget = terminal.onSignal(ENDING, (signal) => stop.abort(new InterruptedError(signal, left, hint)));
  return { signal: stop.signal, forget };
}
