/** The codes of the errors that nodes return. docs/errors.md explains each of them. */
export type ErrorCode =
  | "CONFIG_INVALID"
  | "CONFIG_SYNTAX"
  | "CONFIG_NOT_FOUND"
  | "CONFIG_MODULE"
  | "LOG_UNREACHABLE"
  | "LOG_REGRESSED"
  | "LOG_DIFFERENT"
  | "LOG_TRIMMED"
  | "LOG_GAP"
  | "LOG_FULL"
  | "LOG_UNSAFE"
  | "LOG_READ_ONLY"
  | "SEGMENT_CORRUPT"
  | "REQUEST_INVALID"
  | "METHOD_NOT_ALLOWED"
  | "TX_INVALID"
  | "TX_TOO_LARGE"
  | "TX_TIMEOUT"
  | "INDEX_CORRUPT"
  | "INDEX_VERSION"
  | "INDEX_LOCKED"
  | "CHECKPOINT_CORRUPT"
  | "CHECKPOINT_INCOMPLETE"
  | "CHECKPOINT_NOT_FOUND"
  | "CHECKPOINT_RUNNING"
  | "KEY_MISSING"
  | "PLAIN_REFUSED"
  | "DISK_FULL"
  | "SYSTEM_REFUSED"
  | "PORT_IN_USE"
  | "NOT_READY"
  | "OVERLOADED"
  | "STORE_UNREACHABLE"
  | "STORE_DENIED"
  | "STORE_FULL"
  | "NOT_FOUND"
  | "CONFLICT"
  | "WATCH_COMPACTED"
  | "OUTCOME_REMOVED"
  | "UNAUTHORIZED"
  | "FORBIDDEN"
  | "EXPORT_DAMAGED"
  | "IMPORT_INCOMPLETE"
  | "SOURCE_UNREADABLE"
  | "INTERNAL";

/**
 * The error of a failed call. If a node returned it, it has the node's `code` and the HTTP `status`. If no node
 * responded, its `code` is `UNREACHABLE` and its `status` is 0. `details` contains the other fields of the response
 * body, such as `txId` or `floor`.
 */
export class CairnClientError extends Error {
  readonly code: ErrorCode | "UNREACHABLE";
  readonly status: number;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode | "UNREACHABLE",
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

/** Returns whether an error of a call has one of these codes. */
export function hasCode(error: unknown, ...codes: readonly CairnClientError["code"][]): boolean {
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
