import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import {
  checkServerIdentity,
  createSecureContext,
  rootCertificates,
  type SecureContextOptions,
} from "node:tls";
import { errorMessage } from "@cairn/kv";
import type { ClientTls } from "../requests/node-connections.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";

/**
 * Returns the options of connections with TLS. `ownCert` is the file with the node's certificate, if the node's
 * configuration supplied its address. Exactly this certificate is then trusted, whatever name it contains, because the
 * address is one of this machine.
 */
export async function clientTls(
  options: Readonly<Partial<Record<"ca" | "cert" | "key", string | undefined>>>,
  { env, cwd }: Pick<Terminal, "env" | "cwd">,
  ownCert: string | undefined,
): Promise<ClientTls> {
  const given = (name: "ca" | "cert" | "key"): string | undefined => {
    const file = options[name] ?? env[`CAIRN_${name.toUpperCase()}`];
    return file === undefined || file === "" ? undefined : resolve(cwd, file);
  };
  const [ca, cert, key] = [given("ca"), given("cert"), given("key")];
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("A certificate and its key must be given together.", "Give both --cert and --key.");
  }
  const identity =
    cert === undefined || key === undefined
      ? {}
      : { cert: await pem("--cert", cert), key: await pem("--key", key) };
  if (cert !== undefined) requireUsable(identity, [cert, key]);
  const authorities = ca === undefined ? [] : [...rootCertificates, await pem("--ca", ca)];
  const own = ownCert === undefined ? undefined : await readOwn(ownCert);
  if (own === undefined) return ca === undefined ? identity : { ...identity, ca: authorities };
  return {
    ...identity,
    ca: [...(ca === undefined ? rootCertificates : authorities), own.pem],
    allowPartialTrustChain: true,
    checkServerIdentity: (host, certificate) =>
      certificate.raw.equals(own.certificate.raw) ? undefined : checkServerIdentity(host, certificate),
  };
}

/** Throws a usage error if a certificate and key cannot be used together. */
function requireUsable(identity: SecureContextOptions, files: readonly (string | undefined)[]): void {
  try {
    createSecureContext(identity);
  } catch (error) {
    throw new UsageError(
      `The files of --cert and --key cannot be used (${errorMessage(error)}): ${files.join(", ")}.`,
      "Give a certificate and its own key, unencrypted and in PEM format.",
    );
  }
}

async function pem(option: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    throw new UsageError(
      `The file of ${option}, ${file}, cannot be read.`,
      "Check the path and the permissions.",
    );
  }
}

/** Returns the node's certificate; undefined if it cannot be read. It is then checked like any other. */
async function readOwn(file: string): Promise<{ pem: string; certificate: X509Certificate } | undefined> {
  try {
    const text = await readFile(file, "utf8");
    return { pem: text, certificate: new X509Certificate(text) };
  } catch {
    return undefined;
  }
}
