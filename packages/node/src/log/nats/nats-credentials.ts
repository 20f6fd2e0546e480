import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { CairnError } from "@cairn/kv";
import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  nkeyAuthenticator,
  type TlsOptions,
} from "nats";
import type { NatsServer } from "./nats-server-url.ts";
import { configuredFile, readTlsFiles } from "./nats-tls-files.ts";

/** Credentials for the NATS servers, and the settings that protect the connection. Secrets never appear in messages. */
export interface NatsCredentials {
  readonly credentialsFile?: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  readonly nkeySeedFile?: string;
  /** The files of certificates and keys; `true` requires TLS with the system's certificates. */
  readonly tls?: boolean | Omit<TlsOptions, "cert" | "ca" | "key">;
}

/** Returns the client's options for `credentials`; user, password and token may also come from a server's address. */
export async function credentialOptions(
  credentials: NatsCredentials,
  servers: readonly NatsServer[],
): Promise<ConnectionOptions> {
  const inUrl = servers.find(({ user, token }) => user !== undefined || token !== undefined);
  const user = credentials.user ?? inUrl?.user;
  const password = credentials.password ?? inUrl?.password;
  const token = credentials.token ?? inUrl?.token;
  const tls = credentials.tls === true || servers.some((server) => server.tls) ? {} : undefined;
  const authenticator = await fromFile(credentials);
  if (typeof credentials.tls === "object") await readTlsFiles(credentials.tls);
  return {
    ...(authenticator === undefined ? {} : { authenticator }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: password }),
    ...(token === undefined ? {} : { token }),
    ...withTls(typeof credentials.tls === "object" ? credentials.tls : tls, servers),
  };
}

/**
 * Makes TLS check the certificates of IP addresses, too. The client passes only host names to Node's TLS: for an address, Node would
 * compare the certificate with "localhost", reject the right certificate, and accept that of any server with this name.
 */
function withTls(tls: object | undefined, servers: readonly NatsServer[]): Pick<ConnectionOptions, "tls"> {
  if (tls === undefined) return {};
  const addresses = servers.map(({ host }) => host).filter((host) => isIP(host) !== 0);
  const named = servers.some(({ host }) => host === "localhost");
  const checkIdentity = (host: string, certificate: PeerCertificate): Error | undefined => {
    if (host !== "localhost" || named) return checkServerIdentity(host, certificate);
    const problems = addresses.map((address) => checkServerIdentity(address, certificate));
    return problems.includes(undefined) ? undefined : (problems[0] ?? checkServerIdentity(host, certificate));
  };
  return { tls: { ...tls, checkServerIdentity: checkIdentity } as TlsOptions };
}

async function fromFile(credentials: NatsCredentials): Promise<Authenticator | undefined> {
  const way = fileOf(credentials);
  if (way === undefined) return undefined;
  const { parameter, path } = way;
  const first = await configuredFile(parameter, path);
  try {
    way.authenticator(first)("nonce");
  } catch (error) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The ${parameter} of the NATS log, ${path}, does not contain ${way.holds}.`,
      {
        hint: way.cure,
        cause: error,
      },
    );
  }
  return renewing(path, way.authenticator(first), way.authenticator);
}

/** A file with credentials. */
interface CredentialsFile {
  readonly parameter: "credentials-file" | "nkey-seed-file";
  readonly path: string;
  readonly authenticator: (bytes: Uint8Array) => Authenticator;
  readonly holds: string;
  readonly cure: string;
}

function fileOf({ credentialsFile, nkeySeedFile }: NatsCredentials): CredentialsFile | undefined {
  if (credentialsFile !== undefined) {
    return {
      parameter: "credentials-file",
      path: credentialsFile,
      authenticator: credsAuthenticator,
      holds: "credentials",
      cure: "It must be a .creds file as nsc writes it (nsc generate creds): a user's JWT and its seed, each between lines of dashes.",
    };
  }
  if (nkeySeedFile === undefined) return undefined;
  return {
    parameter: "nkey-seed-file",
    path: nkeySeedFile,
    authenticator: (bytes) =>
      nkeyAuthenticator(Buffer.from(Buffer.from(bytes).toString("latin1").trim(), "latin1")),
    holds: "the seed of an nkey",
    cure: "It must contain only the seed of a user, which begins with SU (nsc generate nkey --user).",
  };
}

/** Reads the file again at each attempt to connect: credentials expire and are renewed while a node runs. */
function renewing(
  path: string,
  first: Authenticator,
  authenticator: (bytes: Uint8Array) => Authenticator,
): Authenticator {
  let last = first;
  return (nonce) => {
    try {
      // Synchronous: the client asks in the middle of its handshake.
      const renewed = authenticator(readFileSync(path));
      const answer = renewed(nonce);
      last = renewed;
      return answer;
    } catch {
      // The file may be in the middle of being replaced; an error here would close the connection permanently.
      return last(nonce);
    }
  };
}

/**
 * Returns `LOG_UNREACHABLE` for credentials that the servers at `place` do not accept. The error names the credentials, whether they have
 * expired, and what to check; the credentials file is read for this.
 */
export function credentialsRefused(
  place: string,
  credentials: NatsCredentials,
  servers: readonly NatsServer[],
  cause?: unknown,
): CairnError {
  const { message, hint } = refusalOf(place, credentials, servers);
  return new CairnError("LOG_UNREACHABLE", message, { hint, cause });
}

const RENEWAL = "It is read again at each attempt, so renewing it is enough.";

function refusalOf(
  place: string,
  credentials: NatsCredentials,
  servers: readonly NatsServer[],
): { message: string; hint: string } {
  const refused = `NATS at ${place} does not accept the credentials`;
  const { parameter, path } = fileOf(credentials) ?? {};
  if (path !== undefined) {
    const expired = parameter === "credentials-file" ? expiryOf(path) : undefined;
    if (expired !== undefined && expired.getTime() <= Date.now()) {
      return {
        message: `${refused} in the ${parameter} ${path}: they expired at ${expired.toISOString()}.`,
        hint: `Renew the file (nsc generate creds). ${RENEWAL}`,
      };
    }
    return {
      message: `${refused} in the ${parameter} ${path}.`,
      hint: `Check that the server knows this user, that the user was not revoked, and that its account exists. ${RENEWAL}`,
    };
  }
  const has = (part: "user" | "token"): boolean =>
    credentials[part] !== undefined || servers.some((server) => server[part] !== undefined);
  if (has("user")) return { message: `${refused}.`, hint: `Check "user" and "password" of the log.` };
  if (has("token")) return { message: `${refused}.`, hint: `Check "token" of the log.` };
  const certificate = typeof credentials.tls === "object" && credentials.tls.certFile !== undefined;
  return {
    message: `NATS at ${place} asks for credentials, and the log has none that it accepts.`,
    hint: certificate
      ? `Set "user" and "password", "token", "credentials-file" or "nkey-seed-file" of the log; or configure a user for the certificate in "cert-file" on the server (verify_and_map).`
      : `Set "user" and "password", "token", "credentials-file" or "nkey-seed-file" of the log.`,
  };
}

/** Returns when the user's JWT in a .creds file expires; undefined if it does not expire or cannot be read. */
function expiryOf(path: string): Date | undefined {
  try {
    const [, claims = ""] =
      /^-{3,}BEGIN NATS USER JWT-{3,}\s+\S+?\.(\S+?)\./m.exec(readFileSync(path, "latin1")) ?? [];
    const { exp } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { exp?: unknown };
    return typeof exp === "number" && exp > 0 ? new Date(exp * 1_000) : undefined;
  } catch {
    return undefined;
  }
}
