/**
 * The error of a failed call. If a node returned it, it has the HTTP `status` and the node's `code`, which
 * docs/errors.md explains; a later version may have others. If no node responded, its `code` is `UNREACHABLE` and its
 * `status` is 0. `details` contains the other fields of the response body, such as `txId` or `floor`.
 */
export class CairnClientError extends Error {
  readonly code: string;
  readonly status: number;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    options: {
      readonly status?: number;
      readonly hint?: string | undefined;
      readonly details?: Readonly<Record<string, unknown>>;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CairnClientError";
    this.code = code;
    this.status = options.status ?? 0;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof CairnClientError && codes.includes(error.code);
}

/** Returns the error `UNREACHABLE`, which means that no node responded. `url` is the last address that was tried. */
export function unreachable(url: string, cause: unknown): CairnClientError {
  const reason =
    cause instanceof Error ? (cause.cause instanceof Error ? cause.cause : cause).message : String(cause);
  return new CairnClientError("UNREACHABLE", `No Cairn node responds at ${url} (${reason}).`, {
    hint: "Check the addresses, and make sure that a node is running there.",
    cause,
  });
}
