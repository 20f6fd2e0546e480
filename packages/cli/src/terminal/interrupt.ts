import { constants } from "node:os";

/** The signals at which a command shuts down cleanly, which includes removing its copies of an index. */
export const ENDING_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** The error of a command that a signal ended before its work was done. */
export class InterruptedError extends Error {
  readonly #by: NodeJS.Signals;
  readonly hint: string | undefined;

  /** `outcome` is a clause such as "nothing was verified". */
  constructor(by: NodeJS.Signals, outcome: string, hint?: string) {
    super(`Interrupted; ${outcome}.`);
    this.name = "InterruptedError";
    this.#by = by;
    this.hint = hint;
  }

  /** Returns the exit code of a process that was ended by the signal: 128 plus the signal's number. */
  get exitCode(): number {
    return 128 + constants.signals[this.#by];
  }

  /** Returns this error with an outcome that becomes known only after the work has ended. */
  withOutcome(outcome: string, hint: string): InterruptedError {
    return new InterruptedError(this.#by, outcome, hint);
  }
}
