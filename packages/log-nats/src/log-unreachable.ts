import { CairnError } from "@cairn/kv";

/** Returns `LOG_UNREACHABLE`, after which a retry may succeed. */
export function logUnreachable(message: string, hint: string, cause?: unknown): CairnError {
  return new CairnError("LOG_UNREACHABLE", message, { hint, cause });
}
