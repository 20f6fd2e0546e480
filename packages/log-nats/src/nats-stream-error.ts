import { logUnreachable } from "./nats-reachable.ts";
import { CairnError, errorMessage } from "@cairn/kv";
import { NatsError } from "nats";
import type { NatsLink } from "./nats-connection.ts";

/** The JetStream API's code for "stream not found" (nats-server/server/errors.json). */
export const NO_STREAM = 10059;

export function apiCode(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined;
}

/** The parts of a {@link NatsLink} that errors report. */
type Place = Pick<NatsLink, "place" | "inboxPrefix" | "maxPayload"> & Partial<Pick<NatsLink, "said">>;

/** Returns `LOG_UNREACHABLE`: the servers have no stream of this name. */
export function missingStream(stream: string, { place }: Place, cause?: unknown): CairnError {
  return logUnreachable(
    `NATS at ${place} has no stream "${stream}".`,
    "Check the name of the stream and the address of the server.",
    cause,
  );
}

/** Is also read in a finding, by operators who have no message to send. */
export const SEND_AGAIN =
  "What was refused can be sent again with the same id, which is safe even if it has been stored.";

/** Returns `LOG_UNREACHABLE`: the servers know no receiver of messages on a subject. */
export function noResponders({ place }: Place, subject: string): CairnError {
  return logUnreachable(
    `Nothing in the account of this user receives messages on ${subject}, says NATS at ${place}.`,
    `Make sure that most of the cluster's servers are running: without a majority, the stream has no leader. Otherwise, check the subjects of the stream (nats stream info), the account's imports, and its JetStream limits. If they are right, restart nats-server. ${SEND_AGAIN}`,
  );
}

/** Returns `TX_TOO_LARGE`: the server accepts no message of this size. */
export function overMaxPayload({ place, maxPayload }: Place, bytes?: number): CairnError {
  const size = bytes === undefined ? "" : ` of ${bytes} bytes`;
  return new CairnError(
    "TX_TOO_LARGE",
    `A message${size} is too large for NATS at ${place}, whose max_payload is ${maxPayload} bytes, headers included.`,
    "Split the transaction, or raise max_payload of nats-server, which nodes notice within a minute.",
  );
}

/** Returns the warning about a server that refuses ordinary transactions. */
export function smallMaxPayload({ place, maxPayload }: Place): CairnError {
  return new CairnError(
    "TX_TOO_LARGE",
    `NATS at ${place} refuses messages of more than ${maxPayload} bytes, headers included (max_payload).`,
    "Raise max_payload of nats-server, whose default is 1 MB.",
  );
}

export function streamError(stream: string, link: Place, error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  const { place, said } = link;
  const found: Partial<NatsError> = error instanceof NatsError ? error : {};
  const { code, permissionContext: context, api_error: api } = found;
  if (api?.err_code === NO_STREAM) return missingStream(stream, link, error);
  if (code === "MAX_PAYLOAD_EXCEEDED") return overMaxPayload(link);
  if (code === "503") {
    return logUnreachable(
      `NATS at ${place} does not respond to JetStream requests.`,
      `Start nats-server with JetStream enabled (-js), and for this user's account, or wait until its cluster has a leader. On a leaf node, set "domain" of the log to the domain of the servers that have the stream; if it is, restore the leaf node's connection to them.`,
      error,
    );
  }
  if (context !== undefined) return notPermitted(link, context, error);
  if (api !== undefined) {
    return logUnreachable(
      `NATS at ${place} refused a request for the log's stream "${stream}": ${api.description} (${api.err_code}).`,
      HINTS.get(api.err_code ?? 0) ??
        "Check the settings of the stream (nats stream info), of the account and of the server.",
      error,
    );
  }
  return logUnreachable(
    `The stream "${stream}" on NATS at ${place} did not respond: ${errorMessage(error)}.${said === undefined ? "" : ` The server said before: ${said}.`}`,
    "Check the server. Cairn retries operations that can be retried.",
    error,
  );
}

/** The codes that mean that the account, a server, memory or storage lacks resources. */
const FULL: readonly number[] = [10002, 10023, 10028, 10047];
/** The code of a message that is larger than the stream's max_msg_size. */
const TOO_LARGE = 10054;

const LIMITS = "Raise the account's JetStream limits, or remove other data from the account.";

/** The hints for those errors of the JetStream API that can affect a log (nats-server/server/errors.json). */
const HINTS: ReadonlyMap<number, string> = new Map([
  ...FULL.map((code): [number, string] => [code, LIMITS]),
  [
    10026,
    "Raise the stream's max_consumers and the account's limits, because every reader of the log, whether node or command, needs a consumer.",
  ],
  [10027, "Raise the number of streams that the account may have, or remove an unused stream."],
  [
    10113,
    `Create the stream yourself, with its name followed by .tx as the subject, storage file, discard new, deny_delete, a duplicate window of two minutes, and a max_bytes, which the account requires and Cairn does not set ("create-stream?").`,
  ],
  [10120, "Enable JetStream for the account, with a storage limit for streams with that many replicas."],
]);

function permissions({ inboxPrefix }: Place): string {
  return `Permit the user of the log to publish to the log's subject and to $JS.API.> (for another domain, to $JS.DOMAIN.API.>), and to subscribe to ${inboxPrefix}.>. For the status of the whole cluster, also permit nodes to subscribe and publish to _CAIRN.nodes.STREAM, and to publish to ${inboxPrefix}.>. Then restart nats-server, one server after another, because a reload does not always apply changed permissions.`;
}

/** `operation` is the client's name for it. */
export function notPermitted(
  link: Place,
  { operation, subject }: { readonly operation: string; readonly subject: string },
  cause?: unknown,
): CairnError {
  const action = operation === "publish" ? "publish on" : "subscribe to";
  // Each attempt has an inbox of its own, whose name would make the same message look new each time.
  const what = subject.startsWith(`${link.inboxPrefix}.`) ? `${link.inboxPrefix}.>` : subject;
  return logUnreachable(
    `NATS at ${link.place} does not permit this user to ${action} ${what}.`,
    permissions(link),
    cause,
  );
}

/** Writers get `LOG_UNREACHABLE` for a stream that refuses messages: an earlier attempt may have stored theirs. */
export function notTaken(cause: CairnError): CairnError {
  const { message, hint = "" } = cause;
  return new CairnError("LOG_UNREACHABLE", message, {
    hint: `${hint} Nodes then resume writing by themselves.`.trim(),
    cause,
  });
}

/** The `error` in the acknowledgement of a publication. */
export interface PublishError {
  readonly code: number;
  readonly err_code?: number;
  readonly description: string;
}

/**
 * Translates a refused publication into an error for the caller, or "retry" if the server will accept it later. Some
 * descriptions are more specific than the code: a failed write, for example, has the status of a transient error.
 * Otherwise the status decides. Transient refusals concern the server rather than the message: 5xx (there is no leader,
 * or a store or a cluster is not available), 429 (too many requests), 409 (a message with the same id, sent by an
 * earlier attempt, is being stored) and 408. All others would recur: 400 and 404 (a sealed stream, another stream's
 * name, unacceptable headers) and 412 (a condition). Messages are sent again with their id, so they are stored only
 * once. (See stream.go, jetstream_cluster.go and jetstream_batching.go of nats-server.)
 */
export function publishFailure(
  stream: string,
  { code, err_code: number = 0, description }: PublishError,
): CairnError | "retry" {
  if (FULL.includes(number) || /maximum (messages|bytes)|no space|resource/i.test(description)) {
    return new CairnError(
      "LOG_FULL",
      `The stream "${stream}" is full: ${description}.`,
      `${roomFor(stream, description)} Nothing was stored.`,
    );
  }
  if (number === TOO_LARGE || /message too large/i.test(description)) {
    return new CairnError(
      "TX_TOO_LARGE",
      `The stream "${stream}" does not accept a message of this size.`,
      "Split the transaction, or raise max_msg_size of the stream (and max_payload of nats-server, if that is not larger).",
    );
  }
  if (code >= 500 || [408, 409, 429].includes(code)) return "retry";
  return logUnreachable(
    `The stream "${stream}" refused a message: ${description}.`,
    "Check the settings of the stream.",
  );
}

/** Trims without regard to the configured `keep`, which may protect everything that fills the log. */
const OR_TRIM =
  "or remove all that a verified checkpoint or the log's backup holds: cairn log trim --keep PT0S prints why it keeps the rest.";

/** Returns advice on how to make a full stream accept messages again. */
function roomFor(stream: string, description: string): string {
  const [, limit] = /maximum (messages|bytes)\b/i.exec(description) ?? [];
  if (limit === undefined) {
    return `Free some space on the disk of its server, raise the server's limits (max_file_store, or the account's limits), ${OR_TRIM}`;
  }
  return `Remove the stream's limit with nats stream edit ${stream} --max-${limit === "bytes" ? "bytes" : "msgs"}=-1, ${OR_TRIM}`;
}
