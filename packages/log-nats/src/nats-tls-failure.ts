import { timeoutSignal } from "@cairn/client/protocol";
import { once } from "node:events";
import { connect, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { CairnError, errorMessage, startTimer, systemErrorCode } from "@cairn/kv";
import type { TlsOptions } from "nats";
import { logUnreachable } from "./log-unreachable.ts";
import type { NatsServer } from "@cairn/text";
import { readTlsFiles } from "./nats-tls-files.ts";

/** The client's TLS options for the log's connections. */
export type NatsTls = TlsOptions | undefined;

/**
 * How long to wait for the server's verdict (ms). With TLS 1.3, it checks a certificate after the client's handshake.
 */
const VERDICT_MS = 1_000;

/**
 * Returns a `LOG_UNREACHABLE` error that explains why TLS fails and names the parameter to change; undefined if TLS is
 * not the cause. Repeats the handshakes, because the client reports a refused certificate as a timeout.
 */
export async function tlsFailure(
  servers: readonly NatsServer[],
  tls: NatsTls,
  timeoutMs: number,
): Promise<CairnError | undefined> {
  const found = await Promise.all(
    servers.map(async (server) => reasonOf(server, tls, await handshakeError(server, tls, timeoutMs))),
  );
  return found.find((one) => one !== undefined);
}

async function handshakeError(server: NatsServer, tls: NatsTls, timeoutMs: number): Promise<unknown> {
  const { handshakeFirst, caFile, certFile, keyFile, ...rest } = tls ?? {};
  const files = { caFile, certFile, keyFile } as Parameters<typeof readTlsFiles>[0];
  const place = { host: server.host, port: server.port };
  let socket: Socket | undefined;
  let secure: TLSSocket | undefined;
  try {
    const contents = await readTlsFiles(files);
    if (handshakeFirst !== true) {
      socket = connect(place);
      if (!(await offersTls(socket, timeoutMs))) return undefined;
    }
    const name = isIP(server.host) === 0 ? { servername: server.host } : {};
    const options = { ...rest, ...contents, ...name, ...(socket === undefined ? place : { socket }) };
    secure = connectTls(options as ConnectionOptions);
    const failed = await outcomeOf(secure, timeoutMs, ["secureConnect"]);
    return failed ?? (await outcomeOf(secure, VERDICT_MS, ["data", "late"]));
  } catch (error) {
    return error;
  } finally {
    secure?.destroy();
    socket?.destroy();
  }
}

async function offersTls(socket: Socket, timeoutMs: number): Promise<boolean> {
  let said = "";
  socket.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  try {
    while (!said.includes("\r\n")) await once(socket, "data", { signal: timeoutSignal(timeoutMs) });
    socket.removeAllListeners("data");
    // From now on, TLS reads the socket itself.
    socket.pause();
    return /"tls_(required|available)":\s*true/.test(said);
  } catch {
    return false;
  }
}

/** The error before one of `events`; undefined if there was none. A timeout is one unless "late" is in `events`. */
async function outcomeOf(
  secure: TLSSocket,
  timeoutMs: number,
  events: readonly string[],
): Promise<Error | undefined> {
  return await new Promise((resolve) => {
    const cancel = startTimer(timeoutMs, () =>
      resolve(events.includes("late") ? undefined : new Error("it did not respond in time")),
    );
    const end = (error?: Error): void => {
      cancel();
      resolve(error);
    };
    for (const event of events) secure.once(event, () => end());
    // An error may still occur after the result is known.
    secure.on("error", end);
    secure.once("close", () => end(new Error("it closed the connection")));
  });
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

function reasonOf({ address }: NatsServer, tls: NatsTls, error: unknown): CairnError | undefined {
  if (error === undefined || error instanceof CairnError) return error;
  const code = systemErrorCode(error) ?? "";
  const because = (message: string, hint: string): CairnError => logUnreachable(message, hint, error);
  const fault = CERTIFICATE_FAULTS.find(([codes]) => codes.includes(code));
  if (fault !== undefined) {
    const why = errorMessage(error).replace(/\.?$/, ".");
    return because(`The certificate of NATS at ${address} is ${fault[1]}: ${why}`, fault[2]);
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" && tls?.handshakeFirst === true) {
    return because(
      `NATS at ${address} does not begin with TLS, but sends its INFO message first.`,
      `Set "handshake-first?" of the log's tls to false, or handshake_first of the server's tls to true.`,
    );
  }
  const alert = alertOf(error);
  if (alert === undefined) return undefined;
  return tls?.certFile === undefined
    ? because(
        `NATS at ${address} requires a certificate from this node (${alert}).`,
        `Set "cert-file" and "key-file" of the log's tls to a certificate that the server's ca_file trusts, and its key: "tls": {"cert-file": "/etc/cairn/node.pem", "key-file": "/etc/cairn/node-key.pem"}.`,
      )
    : because(
        `NATS at ${address} does not accept this node's certificate (${alert}).`,
        `Set "cert-file" and "key-file" of the log's tls to a client certificate that has not expired and is signed by an authority in the server's ca_file, and its key.`,
      );
}

/** Returns the TLS alert that ended a handshake, in OpenSSL's wording, such as "unknown ca". */
function alertOf(error: unknown): string | undefined {
  return /_ALERT_(.+)$/
    .exec(systemErrorCode(error) ?? "")?.[1]
    ?.toLowerCase()
    .replaceAll("_", " ");
}
