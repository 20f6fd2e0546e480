import type { CairnError } from "@cairn/kv";
import type { Logger } from "pino";

/**
 * Tells a failure in one line: its code, its sentence, what follows (`next`, a sentence), and its hint as a field. The stack of what
 * lies beneath is a line of its own for those who debug: a store that is away for an hour fails hundreds of times. Of an error that
 * nobody knows the stack is all there is to go by, so it stands in the line.
 */
export function tellFailure(
  logger: Logger,
  level: "debug" | "warn" | "error",
  { code, message, hint, cause }: CairnError,
  next: string,
): void {
  const unknown = code === "INTERNAL" ? { err: cause } : {};
  logger[level]({ code, hint, ...unknown }, `${message} ${next}`);
  if (code !== "INTERNAL" && cause !== undefined) logger.debug({ code, err: cause }, "what lies beneath");
}
