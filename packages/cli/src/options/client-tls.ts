import { omitUndefined } from "@cairn/text";
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { checkServerIdentity, createSecureContext, rootCertificates } from "node:tls";
import { errorMessage } from "@cairn/kv";
import type { ClientTls } from "../requests/node-client.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";

/**
 * Returns the options of connections with TLS. `ownCert` is the certificate of the node whose configuration supplied
 * the address. It alone is trusted, whatever name it contains, because the address is one of this machine.
 */
export async function clientTls(
  options: Readonly<Partial<Record<"ca" | "cert" | "key", string | undefined>>>,
  { env, cwd }: Pick<Terminal, "env" | "cwd">,
  ownCert: string | undefined,
): Promise<ClientTls> {
  const fileOf = (name: "ca" | "cert" | "key"): string | undefined => {
    const file = options[name] ?? env[`CAIRN_${name.toUpperCase()}`];
    return file === undefined || file === "" ? undefined : resolve(cwd, file);
  };
  const files = [fileOf("cert"), fileOf("key")];
  if (files.filter((file) => file === undefined).length === 1)
    throw new UsageError("A certificate and its key must be given together.", "Give both --cert and --key.");
  const [cert, key] = [await pem("--cert", files[0]), await pem("--key", files[1])];
  const identity = omitUndefined({ cert, key });
  try {
    if (cert !== undefined) createSecureContext(identity);
  } catch (error) {
    throw new UsageError(
      `The files of --cert and --key cannot be used (${errorMessage(error)}): ${files.join(", ")}.`,
      "Give a certificate and its own key, unencrypted and in PEM format.",
    );
  }
  const ca = await pem("--ca", fileOf("ca"));
  const own = ownCert === undefined ? undefined : await readOwn(ownCert);
  if (ca === undefined && own === undefined) return identity;
  const authorities = [...rootCertificates, ...(ca === undefined ? [] : [ca])];
  if (own === undefined) return { ...identity, ca: authorities };
  return {
    ...identity,
    ca: [...authorities, own.pem],
    allowPartialTrustChain: true,
    checkServerIdentity: (host, certificate) =>
      certificate.raw.equals(own.certificate.raw) ? undefined : checkServerIdentity(host, certificate),
  };
}

async function pem(option: string, file: string | undefined): Promise<string | undefined> {
  try {
    return file === undefined ? undefined : await readFile(file, "utf8");
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
