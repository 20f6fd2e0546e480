import { CairnError, errorMessage } from "@cairn/kv";

const RUN_AGAIN = "Then run the command again: documents that are equal are not written again.";

/** Returns `SOURCE_UNREADABLE`: the source of an import does not respond, or refuses to be read. */
export function sourceUnreadable(place: string, cause: unknown, hint?: string): CairnError {
  const reason = causeMessage(cause).replace(/\.$/, "");
  return new CairnError("SOURCE_UNREADABLE", `${place} cannot be read: ${reason}.`, {
    hint: `${hint ?? "Check the address and the credentials, and make sure that the server is running."} ${RUN_AGAIN}`,
    cause,
  });
}

/** Returns the reason behind an error. `fetch` and connections to several addresses hide it in another error. */
function causeMessage(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return causeMessage(error.errors[0]);
  if (error instanceof TypeError && error.cause !== undefined) return causeMessage(error.cause);
  return errorMessage(error);
}
