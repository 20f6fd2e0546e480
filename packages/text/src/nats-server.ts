import { CairnError } from "@cairn/kv";
import { addressUrl } from "./address-url.ts";

export interface NatsServer {
  /** The address `host:port`, without secrets. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
}

/** Scheme, user and port are optional; the client would ignore the user. Throws `CONFIG_INVALID` for anything else. */
export function parseServer(server: string): NatsServer {
  const written = server.trim();
  const url = addressUrl(/^[a-z]+:\/\//i.test(written) ? written : `nats://${written}`, "nats", "tls");
  if (url === undefined || url.hostname === "" || !["", "/"].includes(url.pathname)) throw badServer();
  let user: string;
  let password: string;
  try {
    user = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch (error) {
    throw badServer(error);
  }
  const port = url.port === "" ? 4222 : Number(url.port);
  return {
    address: `${url.hostname}:${port}`,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port,
    tls: url.protocol === "tls:",
    // NATS treats a user name without a password as a token.
    ...(user === "" ? {} : password === "" ? { token: user } : { user, password }),
  };
}

// The error must not quote the address, which may contain a password.
function badServer(cause?: unknown): CairnError {
  return new CairnError("CONFIG_INVALID", "A server of the NATS log must be an address.", {
    hint: 'Write "nats://host:4222", and special characters of a user or a password percent-encoded ("/" is %2F, "@" is %40).',
    cause,
  });
}
