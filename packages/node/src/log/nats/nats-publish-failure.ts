import { CairnError } from "@cairn/kv";

/** The `error` of a publish acknowledgement. */
export interface PublishError {
  readonly code: number;
  readonly err_code?: number;
  readonly description: string;
}

// Codes of the JetStream API (nats-server/server/errors.json).
// Too little is left of the account's resources, of a server's, of memory, of storage.
const FULL = new Set([10002, 10023, 10028, 10047]);
const MESSAGE_TOO_LARGE = 10054;

/** What a refused publication means: an error for the caller, or "retry" when the server will take it later. */
export function publishFailure(stream: string, error: PublishError): CairnError | "retry" {
  const { code, err_code: apiCode = 0, description } = error;
  if (apiCode === MESSAGE_TOO_LARGE) {
    return new CairnError("TX_TOO_LARGE", `The stream "${stream}" does not take a message of this size.`, {
      hint: "Split the transaction, or raise the stream's max_msg_size.",
    });
  }
  // A store that failed says why only in words, with the code 503 of things that pass.
  if (FULL.has(apiCode) || /maximum (messages|bytes)|no space|resource/i.test(description)) {
    return new CairnError("LOG_FULL", `The stream "${stream}" is full: ${description}.`, {
      hint: "Raise its limits or the server's, make room on the server's disk, or trim the log.",
    });
  }
  if (code === 503) return "retry";
  return new CairnError("LOG_UNREACHABLE", `The stream "${stream}" refused a message: ${description}.`, {
    hint: "Check the settings of the stream.",
  });
}
