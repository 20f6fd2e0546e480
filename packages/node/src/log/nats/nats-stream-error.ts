import { CairnError, errorMessage } from "@cairn/kv";
import { NatsError } from "nats";

/** The JetStream API's code for "stream not found" (nats-server/server/errors.json). */
export const NO_STREAM = 10059;

/** The JetStream API's own code of an error. */
export function apiCode(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined;
}

/** What an error of the JetStream API means to a user. */
export function streamError(stream: string, place: string, error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  const code = error instanceof NatsError ? error.code : "";
  if (apiCode(error) === NO_STREAM) {
    return new CairnError("LOG_UNREACHABLE", `NATS at ${place} has no stream "${stream}".`, {
      hint: "Check the name of the stream and the address of the server.",
      cause: error,
    });
  }
  if (code === "503") {
    return new CairnError("LOG_UNREACHABLE", `NATS at ${place} does not answer for streams.`, {
      hint: "Start nats-server with JetStream enabled (-js), or wait until its cluster has a leader.",
      cause: error,
    });
  }
  const context = error instanceof NatsError ? error.permissionContext : undefined;
  if (context !== undefined) return notPermitted(place, context, error);
  if (code === "PERMISSIONS_VIOLATION") {
    return new CairnError(
      "LOG_UNREACHABLE",
      `NATS at ${place} does not permit what the log needs: ${errorMessage(error)}.`,
      { hint: PERMISSIONS, cause: error },
    );
  }
  return new CairnError(
    "LOG_UNREACHABLE",
    `The stream "${stream}" on NATS at ${place} did not answer: ${errorMessage(error)}.`,
    {
      hint: "This is tried again where it makes sense. Check the server.",
      cause: error,
    },
  );
}

const PERMISSIONS =
  "Permit the user of the log to publish to the log's subject and to $JS.API.> (of another domain $JS.DOMAIN.API.>), and to subscribe to _INBOX.>.";

/** The error for what the server does not let the log's user do; `operation` in the client's words. */
export function notPermitted(
  place: string,
  { operation, subject }: { readonly operation: string; readonly subject: string },
  cause?: unknown,
): CairnError {
  const action = operation === "publish" ? "publish on" : "subscribe to";
  return new CairnError(
    "LOG_UNREACHABLE",
    `NATS at ${place} does not permit this user to ${action} ${subject}.`,
    {
      hint: PERMISSIONS,
      cause,
    },
  );
}
