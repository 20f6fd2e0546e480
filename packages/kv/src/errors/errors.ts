import { inspect } from "node:util";

/**
 * Every error code that users can meet, in one place. Each is a heading in docs/errors.md.
 * Source: the contract's list of error codes (docs/errors.md explains each).
 */
export const ERROR_CODES = [
  "CONFIG_INVALID",
  "CONFIG_SYNTAX",
  "CONFIG_NOT_FOUND",
  "CONFIG_MODULE",
  "LOG_UNREACHABLE",
  "LOG_REGRESSED",
  "LOG_DIFFERENT",
  "LOG_TRIMMED",
  "LOG_GAP",
  "LOG_FULL",
  "LOG_UNSAFE",
  "REQUEST_INVALID",
  "METHOD_NOT_ALLOWED",
  "TX_INVALID",
  "TX_TOO_LARGE",
  "TX_TIMEOUT",
  "INDEX_CORRUPT",
  "INDEX_VERSION",
  "INDEX_LOCKED",
  "CHECKPOINT_CORRUPT",
  "CHECKPOINT_INCOMPLETE",
  "CHECKPOINT_NOT_FOUND",
  "CHECKPOINT_RUNNING",
  "DISK_FULL",
  "SYSTEM_REFUSED",
  "PORT_IN_USE",
  "NOT_READY",
  "STORE_UNREACHABLE",
  "STORE_DENIED",
  "STORE_FULL",
  "NOT_FOUND",
  "CONFLICT",
  "WATCH_COMPACTED",
  "UNAUTHORIZED",
  "INTERNAL",
] as const;

/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * The one error class of Cairn: a stable `code`, one sentence that says what happened, a `hint` that says
 * what to do, and the `cause` where another error lies beneath. Tests and programs look at `code` only.
 */
export class CairnError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CairnError";
    this.code = code;
    this.hint = options.hint;
  }
}

/** Whether `error` is a {@link CairnError} (with `code`, when one is given). */
export function isCairnError(error: unknown, code?: ErrorCode): error is CairnError {
  return error instanceof CairnError && (code === undefined || error.code === code);
}

/** The `code` that Node's file and socket errors carry (`ENOENT`, `EXDEV`, …), else undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (error === null || typeof error !== "object" || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** Any thrown value as one sentence, for messages that name a cause. */
export function errorMessage(error: unknown): string {
  if (error instanceof Error) return error.message;
  // Not every object can be made a string of.
  return typeof error === "object" && error !== null ? inspect(error, { depth: 1 }) : String(error);
}
