import { constants } from "node:os";

/** The signals at which a command shuts down cleanly, which includes removing its copies of an index. */
export const ENDING_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** An error of a command itself, not of what it works on. */
export class CommandError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: number;

  constructor(code: string, message: string, hint: string | undefined, exitCode: number) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** The error of a command that a signal ended before its work was done. */
export class InterruptedError extends CommandError {
  readonly by: NodeJS.Signals;

  /** `outcome` is a clause such as "nothing was verified". */
  constructor(by: NodeJS.Signals, outcome: string, hint?: string) {
    super("INTERRUPTED", `Interrupted; ${outcome}.`, hint, 128 + constants.signals[by]);
    this.by = by;
  }
}
