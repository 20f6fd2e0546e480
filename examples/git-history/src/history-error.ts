/** An error that the user can correct: `message` says what happened, `hint` what to do about it. */
export class HistoryError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HistoryError";
    this.hint = options.hint;
  }
}
