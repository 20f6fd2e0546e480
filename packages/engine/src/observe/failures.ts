import { CairnError, explainedError } from "@cairn/kv";
import { DAMAGE_CODES } from "@cairn/checkpoint";
import type { Failure, Warning } from "@cairn/client";
import type { Logger } from "pino";

/** Returns whether `error` reports damage in a checkpoint itself. */
export function isDamage(error: unknown): error is CairnError {
  return error instanceof CairnError && DAMAGE_CODES.has(error.code);
}

/** Returns any thrown value as an error that can be shown to users. */
export function asCairnError(error: unknown): CairnError {
  return explainedError(error, "What the node needs", "An unexpected error occurred");
}

export function asFailure({ code, message, hint }: CairnError): Failure {
  return { code, message, hint: hint ?? null };
}

export function asWarning({ code, message, hint = "" }: CairnError): Warning {
  return { code, message, hint };
}

/** Returns the fields of a log line about an error: its code and hint, or its stack trace if it is unexpected. */
export function errorFields(error: unknown): Record<string, unknown> {
  return error instanceof CairnError ? { code: error.code, hint: error.hint } : { err: error };
}

/**
 * Logs a failure as one line, with the `next` step, code and hint. A known error's stack trace is logged at `debug`,
 * because an unreachable store causes hundreds; that of an unexpected one is the only clue, so it is in the line.
 */
export function logFailure(
  logger: Logger,
  level: "debug" | "warn" | "error",
  { code, message, hint, cause }: CairnError,
  next: string,
): void {
  const unexpected = code === "INTERNAL" ? { err: cause } : {};
  logger[level]({ code, hint, ...unexpected }, `${message} ${next}`);
  if (code !== "INTERNAL" && cause !== undefined) logger.debug({ code, err: cause }, "caused by");
}
