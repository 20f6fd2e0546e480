import { timeoutSignal } from "@cairn/client/protocol";
import { once } from "node:events";
import { connect, isIP, type Socket } from "node:net";
import {
  connect as connectTls,
  type ConnectionOptions as TlsConnectionOptions,
  type TLSSocket,
} from "node:tls";
import { CairnError, errorMessage, isCairnError, startTimer, systemErrorCode } from "@cairn/kv";
import { buildAuthenticator, type ConnectionOptions, type TlsOptions } from "nats";
import { logUnreachable, serversUnreachable } from "./nats-reachable.ts";
import type { NatsServer } from "@cairn/text";
import { credentialOptions, credentialsRefused, type NatsCredentials } from "./nats-credentials.ts";

/** How long to wait for the server's verdict (ms). */
const VERDICT_MS = 1_000;
export const REFUSED = /authori[sz]ation|authentication|credentials|nkey/i;

/** What a refusal is about: the client's options for its connections, and what the user wrote. */
export interface Attempt {
  readonly options: ConnectionOptions;
  readonly credentials: NatsCredentials;
  readonly servers: readonly NatsServer[];
  readonly timeoutMs: number;
}

/**
 * Returns a `LOG_UNREACHABLE` error that explains why servers that respond refuse a connection; undefined if none does.
 * Repeats the handshakes, because the client reports a refused certificate, and what a server says before it disconnects,
 * as a timeout.
 */
export async function refusal(attempt: Attempt): Promise<CairnError | undefined> {
  const { servers } = attempt;
  const errors = await Promise.all(servers.map(async (server) => await handshakeError(server, attempt)));
  const silent = servers.filter((_, index) => errors[index] instanceof Silence);
  const reason =
    servers
      .map((server, index) => reasonOf(server, attempt, errors[index]))
      .find((one) => one !== undefined) ??
    (silent.length > 0 ? serversUnreachable(silent, new Silence(attempt.timeoutMs)) : undefined);
  return reason && (await withUnusableFile(reason, attempt));
}

/** Adds to the reason for a refusal that a file with credentials cannot be used, so that older ones were sent. */
async function withUnusableFile(reason: CairnError, attempt: Attempt): Promise<CairnError> {
  try {
    await credentialOptions(attempt.credentials, attempt.servers);
    return reason;
  } catch (fault) {
    if (!isCairnError(fault, "CONFIG_INVALID")) throw fault;
    const message = `${reason.message} ${fault.message} Meanwhile, the last usable content of the file is used.`;
    return logUnreachable(message, `${fault.hint} ${reason.hint}`, reason.cause);
  }
}

async function handshakeError(server: NatsServer, { options, timeoutMs }: Attempt): Promise<unknown> {
  const { handshakeFirst, ...rest } = (options.tls as TlsOptions | undefined) ?? {};
  const place = { host: server.host, port: server.port };
  let socket: Socket | undefined;
  let secure: TLSSocket | undefined;
  try {
    let said = "";
    if (handshakeFirst !== true) {
      socket = connect(place);
      said = await firstLines(socket, timeoutMs);
      if (!/"tls_(required|available)":\s*true/.test(said)) {
        // Credentials for an encrypted connection are sent over no other.
        if (options.tls === undefined) return await verdict(socket, said, options, 0);
        return serverError(said) ?? withoutTls(server);
      }
    }
    const name = isIP(server.host) === 0 ? { servername: server.host } : {};
    const secured = { ...rest, ...name, ...(socket === undefined ? place : { socket }) };
    secure = connectTls(secured as TlsConnectionOptions);
    return (await outcomeOf(secure, timeoutMs)) ?? (await verdict(secure, said, options, VERDICT_MS / 2));
  } catch (error) {
    return error;
  } finally {
    secure?.destroy();
    socket?.destroy();
  }
}

/** A server says nothing, for example because it waits for a TLS handshake. */
class Silence extends Error {
  constructor(timeoutMs: number) {
    super(`no response within ${timeoutMs} ms`);
  }
}

/** Returns what a server says first, up to the end of a line. Throws {@link Silence} if it does not. */
async function firstLines(socket: Socket, timeoutMs: number): Promise<string> {
  let said = "";
  socket.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  const signal = timeoutSignal(timeoutMs);
  try {
    while (!said.includes("\r\n")) await once(socket, "data", { signal });
  } catch (error) {
    throw signal.aborted ? new Silence(timeoutMs) : error;
  }
  socket.removeAllListeners("data");
  // From now on, something else reads the socket.
  socket.pause();
  return said;
}

/** Returns the error before the end of a TLS handshake; undefined if there was none. */
async function outcomeOf(secure: TLSSocket, timeoutMs: number): Promise<Error | undefined> {
  return await new Promise((resolve) => {
    const end = (error?: Error): void => {
      cancel();
      resolve(error);
    };
    const cancel = startTimer(timeoutMs, () => end(new Error("it did not respond in time")));
    secure.once("secureConnect", () => end());
    // An error may still occur after the result is known.
    secure.on("error", end);
    secure.once("close", () => end(new Error("it closed the connection")));
  });
}

/** What a server says before it disconnects a client. */
class ServerError extends Error {}

function serverError(said: string): ServerError | undefined {
  const [, words] = /^-ERR '?(.*?)'?\r?$/m.exec(said) ?? [];
  return words === undefined ? undefined : new ServerError(words);
}

/**
 * Connects as the client does, after a pause. Returns the error with which that is refused; undefined if it is not. With
 * TLS 1.3, a server checks a certificate after the client's handshake, and its verdict would be lost if something was
 * written before it.
 */
async function verdict(
  socket: Socket,
  first: string,
  options: ConnectionOptions,
  pauseMs: number,
): Promise<Error | undefined> {
  return await new Promise((resolve) => {
    let said = first;
    let cancelAsk: (() => void) | undefined;
    const hear = (): void => {
      const error = serverError(said);
      if (error !== undefined || /^PONG\r$/m.test(said)) return end(error);
      const [, info] = /^INFO (.*)\r$/m.exec(said) ?? [];
      if (info === undefined || cancelAsk !== undefined) return;
      const { nonce } = JSON.parse(info) as { nonce?: string };
      const auth = buildAuthenticator(options)(nonce);
      const asked = { verbose: false, pedantic: false, lang: "node", version: "1", protocol: 1, ...auth };
      const ask = (): unknown => socket.write(`CONNECT ${JSON.stringify(asked)}\r\nPING\r\n`);
      cancelAsk = startTimer(pauseMs, ask);
    };
    const end = (error?: Error): void => {
      cancel();
      cancelAsk?.();
      resolve(error);
    };
    const cancel = startTimer(pauseMs + VERDICT_MS, () => end());
    socket.on("error", end);
    socket.once("close", () => end());
    socket.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
      hear();
    });
    socket.resume();
    hear();
  });
}

/** What to do about some of the things that servers say. */
const WORDS: readonly (readonly [words: RegExp, cure: string])[] = [
  [
    /maximum (account active )?connections/i,
    "Raise max_connections of the server, or the account's limit on connections, or close some of the others: each node, and each command that uses the log, needs one.",
  ],
  [
    /maximum subscriptions/i,
    "Raise max_subscriptions of the server, or the account's limit on subscriptions.",
  ],
  [/slow consumer/i, "Raise max_pending of the server."],
  [/secure connection/i, 'Set "tls" of the log to true, or write its servers as tls://host:port.'],
];

/** Returns `LOG_UNREACHABLE` with what a server at `place` says about a connection. */
export function saidBy(place: string, words: string, { credentials, servers }: Attempt): CairnError {
  const cause = new ServerError(words);
  if (REFUSED.test(words)) return credentialsRefused(place, credentials, servers, cause);
  const [, hint = "Look into the log of the server for the reason."] =
    WORDS.find(([known]) => known.test(words)) ?? [];
  return logUnreachable(
    `NATS at ${place} refuses the connection: ${words}.`,
    `${hint} Cairn keeps trying to reconnect.`,
    cause,
  );
}

/** Why a server's certificate is refused, by Node's codes: the predicate of a sentence, and the remedy. */
const CERTIFICATE_FAULTS: readonly (readonly [codes: readonly string[], is: string, cure: string])[] = [
  [
    [
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
    ],
    "signed by an authority that this node does not trust",
    `Set "ca-file" of the log's tls to the certificate of the authority that signed the server's certificate: "tls": {"ca-file": "/etc/cairn/ca.pem"}.`,
  ],
  [
    ["ERR_TLS_CERT_ALTNAME_INVALID"],
    "not valid for this address",
    `In "servers", use a name or an address that the certificate contains, or install a certificate for this address on the server.`,
  ],
  [
    ["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"],
    "not valid now",
    "Renew the server's certificate or the certificate of the authority that signed it, and check the clock of this machine.",
  ],
];

function withoutTls({ address }: NatsServer): CairnError {
  return logUnreachable(
    `NATS at ${address} does not offer TLS, which the log requires.`,
    "Check the address, and the TLS settings of the log and of the server.",
  );
}

function reasonOf({ address }: NatsServer, attempt: Attempt, error: unknown): CairnError | undefined {
  if (error === undefined || error instanceof CairnError) return error;
  if (error instanceof ServerError) return saidBy(address, error.message, attempt);
  const { tls } = attempt.credentials;
  const { certFile, handshakeFirst } = typeof tls === "object" ? (tls as TlsOptions) : {};
  const code = systemErrorCode(error) ?? "";
  const because = (message: string, hint: string): CairnError => logUnreachable(message, hint, error);
  const fault = CERTIFICATE_FAULTS.find(([codes]) => codes.includes(code));
  if (fault !== undefined) {
    const why = errorMessage(error).replace(/\.?$/, ".");
    return because(`The certificate of NATS at ${address} is ${fault[1]}: ${why}`, fault[2]);
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" && handshakeFirst === true) {
    return because(
      `NATS at ${address} does not begin with TLS, but sends its INFO message first.`,
      `Set "handshake-first?" of the log's tls to false, or handshake_first of the server's tls to true.`,
    );
  }
  const [, ended] = /_ALERT_(.+)$/.exec(code) ?? [];
  if (ended === undefined) return undefined;
  // In OpenSSL's wording, such as "unknown ca".
  const alert = ended.toLowerCase().replaceAll("_", " ");
  return certFile === undefined
    ? because(
        `NATS at ${address} requires a certificate from this node (${alert}).`,
        `Set "cert-file" and "key-file" of the log's tls to a certificate that the server's ca_file trusts, and its key: "tls": {"cert-file": "/etc/cairn/node.pem", "key-file": "/etc/cairn/node-key.pem"}.`,
      )
    : because(
        `NATS at ${address} does not accept this node's certificate (${alert}).`,
        `Set "cert-file" and "key-file" of the log's tls to a client certificate that has not expired and is signed by an authority in the server's ca_file, and its key.`,
      );
}
