import { CairnError } from "@cairn/kv";

/** One of the configured servers. */
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
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(written) ? written : `nats://${written}`);
  } catch (error) {
    throw badServer(error);
  }
  if (!["nats:", "tls:"].includes(url.protocol) || url.hostname === "") throw badServer();
  const port = url.port === "" ? 4222 : Number(url.port);
  const user = decodeURIComponent(url.username);
  const password = decodeURIComponent(url.password);
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
    hint: 'Write "nats://host:4222".',
    cause,
  });
}
