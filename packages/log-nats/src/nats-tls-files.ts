import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
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
  const ca = caFile === undefined ? undefined : configuredFile("ca-file", caFile);
  const cert = certFile === undefined ? undefined : configuredFile("cert-file", certFile);
  const key = keyFile === undefined ? undefined : configuredFile("key-file", keyFile);
  if (ca !== undefined) certificateIn("ca-file", caFile, ca);
  const certificate = cert === undefined ? undefined : certificateIn("cert-file", certFile, cert);
  const privateKey = key === undefined ? undefined : privateKeyIn(keyFile, key);
  if (certificate !== undefined && privateKey !== undefined && !certificate.checkPrivateKey(privateKey)) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The key-file of the NATS log, ${keyFile}, does not contain the key of the certificate in its cert-file, ${certFile}.`,
      "Use the key that belongs to the certificate, or the certificate that belongs to the key.",
    );
  }
  return { ca, cert, key };
}

/** Reads a file that the configuration names. Throws `CONFIG_INVALID`, with the parameter's name, if the file cannot be read. */
export function configuredFile(parameter: string, path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CairnError("CONFIG_INVALID", `The ${parameter} of the NATS log, ${path}, cannot be read.`, {
      hint: "Check the path and the permissions of the file.",
      cause: error,
    });
  }
}

function certificateIn(parameter: string, path: string | undefined, bytes: Uint8Array): X509Certificate {
  try {
    // X509Certificate also reads other formats, which Node's TLS does not accept.
    if (Buffer.from(bytes).includes("-----BEGIN")) return new X509Certificate(bytes);
  } catch (error) {
    throw unlike(parameter, path, "certificate", error);
  }
  throw unlike(parameter, path, "certificate");
}

function privateKeyIn(path: string | undefined, bytes: Uint8Array): KeyObject {
  try {
    return createPrivateKey(Buffer.from(bytes));
  } catch (error) {
    throw unlike("key-file", path, "private key", error);
  }
}

function unlike(parameter: string, path: string | undefined, what: string, cause?: unknown): CairnError {
  const message = `The ${parameter} of the NATS log, ${path}, does not contain a ${what}.`;
  const hint = `Use a file that contains an unencrypted ${what} in PEM format (-----BEGIN …).`;
  return new CairnError("CONFIG_INVALID", message, { hint, cause });
}
