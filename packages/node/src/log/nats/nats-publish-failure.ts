import { CairnError } from "@cairn/kv";

/** The `error` of a publish acknowledgement. */
export interface PublishError {
  readonly code: number;
  readonly err_code?: number;
  readonly description: string;
}

/** What a refusal of a publication comes to: `passing` ones end by themselves, so that the same message is taken later. */
type Refusal = "passing" | "full" | "too large" | "final";

/**
 * Codes of the JetStream API with which a server answers a publication, as far as the status does not say what they come to
 * (nats-server/server/errors.json, and where stream.go, jetstream_cluster.go and jetstream_batching.go answer them).
 */
const BY_CODE: ReadonlyMap<number, Refusal> = new Map([
  // Too little is left of the account's resources, of a server's, of memory, of storage.
  [10002, "full"],
  [10023, "full"],
  [10028, "full"],
  [10047, "full"],
  // Larger than the stream's max_msg_size.
  [10054, "too large"],
]);

/** Of an error whose code tells less than its words: a store that failed has the status of things that pass. */
const BY_WORDS: readonly [RegExp, Refusal][] = [
  [/maximum (messages|bytes)|no space|resource/i, "full"],
  [/message too large/i, "too large"],
];

/**
 * Otherwise the status decides. Passing are those of a server that cannot now, and say nothing of the message: 5xx (no leader, a store or a
 * cluster that is not available), 429 (too many requests), 409 (a message of the same id is being stored, which an earlier attempt at the
 * same message sent) and 408. All others (400 and 404: a sealed stream, another stream's name, headers that it does not take; 412: a
 * condition) would be the same the next time. What is sent again has its id, so it is stored once.
 */
function byStatus(status: number): Refusal {
  return status >= 500 || [408, 409, 429].includes(status) ? "passing" : "final";
}

function refusalOf({ code, err_code: apiCode = 0, description }: PublishError): Refusal {
  const [, said] = BY_WORDS.find(([words]) => words.test(description)) ?? [];
  return BY_CODE.get(apiCode) ?? said ?? byStatus(code);
}

/** What a refused publication means: an error for the caller, or "retry" when the server will take it later. */
export function publishFailure(stream: string, error: PublishError): CairnError | "retry" {
  const { description } = error;
  switch (refusalOf(error)) {
    case "passing":
      return "retry";
    case "too large":
      return new CairnError("TX_TOO_LARGE", `The stream "${stream}" does not take a message of this size.`, {
        hint: "Split the transaction, or raise the stream's max_msg_size.",
      });
    case "full":
      return new CairnError("LOG_FULL", `The stream "${stream}" is full: ${description}.`, {
        hint: `${roomFor(stream, description)} Nothing was stored.`,
      });
    case "final":
      return new CairnError("LOG_UNREACHABLE", `The stream "${stream}" refused a message: ${description}.`, {
        hint: "Check the settings of the stream.",
      });
  }
}

/** How a full stream takes more again: a limit of its own, or what its server has left. */
function roomFor(stream: string, description: string): string {
  const [, limit] = /maximum (messages|bytes)\b/i.exec(description) ?? [];
  if (limit === undefined) {
    return "Make room on the disk of its server, or raise what the server may use (max_file_store, or the limits of the account).";
  }
  return `nats stream edit ${stream} --max-${limit === "bytes" ? "bytes" : "msgs"}=-1 takes its limit away; or trim the log: cairn log trim.`;
}
