import { logUnreachable } from "./nats-server-url.ts";
import { CairnError } from "@cairn/kv";

/** The `error` in the acknowledgement of a publication. */
export interface PublishError {
  readonly code: number;
  readonly err_code?: number;
  readonly description: string;
}

/** The classes of refusals. After a `transient` refusal, the same message will be accepted later. */
type Refusal = "transient" | "full" | "too large" | "final";

/**
 * The JetStream API codes for refused publications whose class does not follow from the status. See
 * nats-server/server/errors.json, and stream.go, jetstream_cluster.go and jetstream_batching.go, which use these codes.
 */
const BY_CODE: ReadonlyMap<number, Refusal> = new Map([
  // The account, a server, memory or storage lacks resources.
  [10002, "full"],
  [10023, "full"],
  [10028, "full"],
  [10047, "full"],
  // The message is larger than the stream's max_msg_size.
  [10054, "too large"],
]);

/**
 * Errors whose description is more specific than their code. A failed write, for example, has the status of a transient
 * error.
 */
const BY_WORDS: readonly [RegExp, Refusal][] = [
  [/maximum (messages|bytes)|no space|resource/i, "full"],
  [/message too large/i, "too large"],
];

/**
 * Classifies a refusal by its status, if its code and description do not determine its class. Transient refusals
 * concern the server rather than the message: 5xx (there is no leader, or a store or a cluster is not available), 429
 * (too many requests), 409 (a message with the same id, sent by an earlier attempt, is being stored) and 408. All other
 * refusals would recur: 400 and 404 (a sealed stream, another stream's name, unacceptable headers) and 412 (a
 * condition). Messages are sent again with their id, so they are stored only once.
 */
function byStatus(status: number): Refusal {
  return status >= 500 || [408, 409, 429].includes(status) ? "transient" : "final";
}

function refusalOf({ code, err_code: apiCode = 0, description }: PublishError): Refusal {
  const [, said] = BY_WORDS.find(([words]) => words.test(description)) ?? [];
  return BY_CODE.get(apiCode) ?? said ?? byStatus(code);
}

/** Translates a refused publication into an error for the caller, or "retry" if the server will accept it later. */
export function publishFailure(stream: string, error: PublishError): CairnError | "retry" {
  const { description } = error;
  switch (refusalOf(error)) {
    case "transient":
      return "retry";
    case "too large":
      return new CairnError(
        "TX_TOO_LARGE",
        `The stream "${stream}" does not accept a message of this size.`,
        {
          hint: "Split the transaction, or raise max_msg_size of the stream.",
        },
      );
    case "full":
      return new CairnError("LOG_FULL", `The stream "${stream}" is full: ${description}.`, {
        hint: `${roomFor(stream, description)} Nothing was stored.`,
      });
    case "final":
      return logUnreachable(
        `The stream "${stream}" refused a message: ${description}.`,
        "Check the settings of the stream.",
      );
  }
}

/** Returns advice on how to make a full stream accept messages again. */
function roomFor(stream: string, description: string): string {
  const [, limit] = /maximum (messages|bytes)\b/i.exec(description) ?? [];
  if (limit === undefined) {
    return "Free some space on the disk of its server, raise the server's limits (max_file_store, or the account's limits), or trim the log with cairn log trim.";
  }
  return `Remove the stream's limit with nats stream edit ${stream} --max-${limit === "bytes" ? "bytes" : "msgs"}=-1, or trim the log with cairn log trim.`;
}
