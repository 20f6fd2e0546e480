import { inspect } from "node:util";
import type { ErrorCode } from "@cairn/client/shared";

export { ERROR_CODES, type ErrorCode } from "@cairn/client/shared";

/** Marks the errors of every copy of {@link CairnError}. */
const MARK = Symbol.for("cairn.error");

/**
 * Cairn's error class. An error has a stable `code`, a one-sentence message that describes what happened, a `hint`
 * that says what to do, and the underlying error, if any, as its `cause`. Tests and programs should depend only on
 * `code`, and on the `details` that @cairn/client declares for it. The errors of another copy of the class are instances,
 * too: a user's own module may be installed in another place than its node.
 */
export class CairnError extends Error {
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== CairnError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && MARK in value;
  }

  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    more: string | Partial<Pick<CairnError, "hint" | "details" | "cause">> = {},
  ) {
    const { hint, cause, details = {} } = typeof more === "string" ? { hint: more } : more;
    super(withoutUser(message), cause === undefined ? undefined : { cause });
    this.name = "CairnError";
    this.code = code;
    this.hint = hint;
    this.details = details;
  }

  get [MARK](): true {
    return true;
  }
}

/**
 * A user, or a user and a password, in an address. A password may contain characters that should have been percent-
 * encoded; what follows a port is no password.
 */
const USER = /\b([a-z][a-z0-9+.-]*:\/\/)(?:[^\s/:@]*:(?!\d{1,5}\/)\S*|[^\s/@]*)@/gi;

/** Returns text in which addresses have lost their user and password, which messages must not contain. */
export function withoutUser(text: string): string {
  return text.replaceAll(USER, "$1");
}

/** The hint of errors after which only another copy of an index helps. */
const RESTORE =
  "Restore the index from a checkpoint, or start its node, which does that by itself. Keep the damaged files if the log was lost or has lost its end: nothing else may hold these transactions.";

export function indexCorrupt(message: string, cause?: unknown, hint = RESTORE): CairnError {
  return new CairnError("INDEX_CORRUPT", message, { hint, cause });
}

/** Returns the error for a file of Cairn itself that is missing. No import names it, so a bundler leaves it out. */
export function missingFile(path: string, cause?: unknown): CairnError {
  return new CairnError("CONFIG_MODULE", `A file of Cairn is missing: ${path}.`, {
    hint: "If the program is bundled, leave the packages of Cairn out of the bundle (esbuild --packages=external), and install them next to it. Otherwise, install or build them again. Then start again.",
    cause,
  });
}

/** Returns whether an error is one of Cairn's, with one of the codes if there are any. */
export function isCairnError(error: unknown, ...codes: readonly ErrorCode[]): error is CairnError {
  return error instanceof CairnError && (codes.length === 0 || codes.includes(error.code));
}

/** Returns the `code` of Node's file and socket errors (`ENOENT`, `EXDEV`, …), undefined for other errors. */
export function systemErrorCode(error: unknown): string | undefined {
  if (error === null || typeof error !== "object" || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** Returns the result of `work`, or `instead` if it fails with one of these codes, of Cairn (`any`: all) or the system. */
export async function unlessFailed<T, U>(
  work: Promise<T>,
  codes: FailureCode | readonly FailureCode[] | "any",
  instead: U,
): Promise<T | U> {
  try {
    return await work;
  } catch (error) {
    if (
      codes === "any" ? isCairnError(error) : [codes].flat().some((code) => code === systemErrorCode(error))
    )
      return instead;
    throw error;
  }
}

type FailureCode = ErrorCode | `E${string}`;

/** Returns any thrown value as a string, for messages that name a cause. */
export function errorMessage(error: unknown): string {
  if (error instanceof Error) return error.message;
  // Not every object can be converted to a string.
  return typeof error === "object" && error !== null ? inspect(error, { depth: 1 }) : String(error);
}
