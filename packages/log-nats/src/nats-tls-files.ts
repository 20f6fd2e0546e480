import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { CairnError } from "@cairn/kv";
import type { TlsOptions } from "nats";

type TlsFiles = Pick<TlsOptions, "caFile" | "certFile" | "keyFile">;

/**
 * Returns the options with the contents of the files in place of their paths. The files are read again whenever a
 * content is used, because certificates expire and are renewed while a node runs. While one of them is being replaced,
 * the last usable contents are returned. Throws `CONFIG_INVALID`, with the parameter's name, if there are none yet.
 */
export function withTlsFiles({
  caFile,
  certFile,
  keyFile,
  ...options
}: TlsFiles & Readonly<Record<string, unknown>>): object {
  const files = { caFile, certFile, keyFile } as TlsFiles;
  let last = readTlsFiles(files);
  const read = (): typeof last => {
    try {
      last = readTlsFiles(files);
    } catch {
      // An error would close the connection permanently, or be reported as an unreachable server.
    }
    return last;
  };
  return {
    ...options,
    get ca() {
      return read().ca;
    },
    get cert() {
      return read().cert;
    },
    get key() {
      return read().key;
    },
  };
}

/** Returns the contents of the files, as Node's TLS accepts them. */
function readTlsFiles(files: TlsFiles): Record<"ca" | "cert" | "key", Uint8Array | undefined> {
  const { caFile, certFile, keyFile } = files;
  const ca = configuredFile("ca-file", caFile, CERTIFICATE);
  const cert = configuredFile("cert-file", certFile, CERTIFICATE);
  const key = configuredFile("key-file", keyFile, PRIVATE_KEY);
  if (cert !== undefined && key !== undefined && !cert.content.checkPrivateKey(key.content)) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The key-file of the NATS log, ${keyFile}, does not contain the key of the certificate in its cert-file, ${certFile}.`,
      "Use the key that belongs to the certificate, or the certificate that belongs to the key.",
    );
  }
  return { ca: ca?.bytes, cert: cert?.bytes, key: key?.bytes };
}

const pemOf = (what: string) =>
  `Use a file that contains a complete ${what} in PEM format (-----BEGIN …); a private key must not be encrypted.`;

const CERTIFICATE = {
  hold: "a certificate",
  cure: pemOf("certificate"),
  parse: (bytes: Buffer): X509Certificate => {
    // X509Certificate also reads other formats, which Node's TLS does not accept.
    if (!bytes.includes("-----BEGIN")) throw new Error("it is not in PEM format");
    return new X509Certificate(bytes);
  },
};
const PRIVATE_KEY = { hold: "a private key", cure: pemOf("private key"), parse: createPrivateKey };

/** Throws `CONFIG_INVALID`, with the parameter's name, if a file cannot be read or does not contain what it should. */
export function configuredFile<Content>(
  parameter: string,
  path: string | undefined,
  should: { readonly hold: string; readonly cure: string; readonly parse: (bytes: Buffer) => Content },
): { readonly bytes: Buffer; readonly content: Content } | undefined {
  if (path === undefined) return undefined;
  let [problem, hint] = ["cannot be read", "Check the path and the permissions of the file."];
  try {
    const bytes = readFileSync(path);
    [problem, hint] = [`does not contain ${should.hold}`, should.cure];
    return { bytes, content: should.parse(bytes) };
  } catch (cause) {
    const message = `The ${parameter} of the NATS log, ${path}, ${problem}.`;
    throw new CairnError("CONFIG_INVALID", message, { hint, cause });
  }
}
