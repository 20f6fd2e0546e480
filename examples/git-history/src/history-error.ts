/** What a user can put right: `message` says in one sentence what happened, `hint` what to do about it. */
export class HistoryError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HistoryError";
    this.hint = options.hint;
  }
}
