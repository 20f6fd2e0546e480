import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
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

/** Who we are to the NATS servers, and how the connection is protected. Secrets are never part of a message. */
export interface NatsCredentials {
  readonly credentialsFile?: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  readonly nkeySeedFile?: string;
  /** Files of certificates and keys; `true` insists on TLS with the system's certificates. */
  readonly tls?: boolean | Omit<TlsOptions, "cert" | "ca" | "key">;
}

/** The client's options for `credentials`; user, password and token may also come from a server's address. */
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
  // The client reads them only when a server offers TLS, and tells a missing file as a server that cannot be reached.
  if (typeof credentials.tls === "object") {
    const { caFile, certFile, keyFile } = credentials.tls;
    for (const [key, path] of Object.entries({
      "ca-file": caFile,
      "cert-file": certFile,
      "key-file": keyFile,
    })) {
      if (path !== undefined) await configuredFile(key, path);
    }
  }
  return {
    ...(authenticator === undefined ? {} : { authenticator }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: password }),
    ...(token === undefined ? {} : { token }),
    ...withTls(typeof credentials.tls === "object" ? credentials.tls : tls, servers),
  };
}

/**
 * The client names a server to Node's TLS only where it has a name: without one Node would compare the certificate with "localhost",
 * refuse the right one of an address, and take that of any server that calls itself so.
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

async function fromFile({
  credentialsFile,
  nkeySeedFile,
}: NatsCredentials): Promise<Authenticator | undefined> {
  if (credentialsFile !== undefined) {
    return readAgain(
      credentialsFile,
      await configuredFile("credentials-file", credentialsFile),
      credsAuthenticator,
    );
  }
  if (nkeySeedFile === undefined) return undefined;
  return readAgain(nkeySeedFile, await configuredFile("nkey-seed-file", nkeySeedFile), (bytes) => {
    return nkeyAuthenticator(Buffer.from(Buffer.from(bytes).toString("latin1").trim(), "latin1"));
  });
}

/** Credentials expire and are renewed in their file while a node runs: they are read for each connection, once more for each attempt. */
function readAgain(
  path: string,
  first: Uint8Array,
  authenticator: (bytes: Uint8Array) => Authenticator,
): Authenticator {
  let last = first;
  return (nonce) => {
    try {
      // The client asks for them in the middle of its handshake, and does not wait.
      last = readFileSync(path);
    } catch {
      // It may be in the middle of being replaced.
    }
    return authenticator(last)(nonce);
  };
}

async function configuredFile(key: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CairnError("CONFIG_INVALID", `The ${key} of the NATS log, ${path}, cannot be read.`, {
      hint: "Check the path and who may read the file.",
      cause: error,
    });
  }
}
