/** An error that the user can correct: `message` describes it, and `hint` explains what to do. */
export class HistoryError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HistoryError";
    this.hint = options.hint;
  }
}
