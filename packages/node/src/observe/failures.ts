import { CairnError, systemErrorOf, systemRefused } from "@cairn/kv";
import { DAMAGE_CODES } from "@cairn/checkpoint";
import type { Logger } from "pino";

/** Returns whether `error` reports damage in a checkpoint itself. */
export function isDamage(error: unknown): error is CairnError {
  return error instanceof CairnError && DAMAGE_CODES.has(error.code);
}

/** Returns any thrown value as an error that can be shown to users. */
export function asCairnError(error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  const system = systemErrorOf(error);
  if (system !== undefined) return systemRefused("What the node needs", system, error);
  const message = error instanceof Error ? error.message : String(error);
  return new CairnError("INTERNAL", `An unexpected error occurred: ${message}.`, {
    hint: "Report this error together with the node's log output. The data in the transaction log is not affected.",
    cause: error,
  });
}

/** Returns the fields of a log line about an error: its code and hint, or its stack trace if it is unexpected. */
export function errorFields(error: unknown): Record<string, unknown> {
  return error instanceof CairnError ? { code: error.code, hint: error.hint } : { err: error };
}

/**
 * Logs a failure as one line, with the message, the node's next step (a sentence), and the code and the hint as fields.
 * The stack trace of the cause is logged at the level `debug`, because a store that is unreachable for an hour causes
 * hundreds of failures. The stack trace of an unexpected error is the only clue, so the line contains it.
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
