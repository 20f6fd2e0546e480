import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { CairnError } from "@cairn/kv";
import type { TlsOptions } from "nats";

/** The files that TLS may be given, under the names of their parameters. */
export type TlsFiles = Pick<TlsOptions, "caFile" | "certFile" | "keyFile">;

/** What the files hold, as Node's TLS takes it. */
export interface TlsContents {
  readonly ca?: Uint8Array;
  readonly cert?: Uint8Array;
  readonly key?: Uint8Array;
}

/**
 * Reads the files and looks whether they are what they should be: the client reads them only when a server offers TLS, and tells whatever is
 * wrong with them as a server that cannot be reached. `CONFIG_INVALID` names the parameter.
 */
export async function readTlsFiles({ caFile, certFile, keyFile }: TlsFiles): Promise<TlsContents> {
  const ca = caFile === undefined ? undefined : await configuredFile("ca-file", caFile);
  const cert = certFile === undefined ? undefined : await configuredFile("cert-file", certFile);
  const key = keyFile === undefined ? undefined : await configuredFile("key-file", keyFile);
  if (ca !== undefined) certificateIn("ca-file", caFile, ca);
  const certificate = cert === undefined ? undefined : certificateIn("cert-file", certFile, cert);
  const privateKey = key === undefined ? undefined : privateKeyIn(keyFile, key);
  if (certificate !== undefined && privateKey !== undefined && !certificate.checkPrivateKey(privateKey)) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The key-file of the NATS log, ${keyFile}, does not hold the key of the certificate in its cert-file, ${certFile}.`,
      {
        hint: "Give the key that was made with the certificate, or the certificate that was made for the key.",
      },
    );
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** A file that the configuration names; `CONFIG_INVALID`, with the parameter's name, where it cannot be read. */
export async function configuredFile(parameter: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CairnError("CONFIG_INVALID", `The ${parameter} of the NATS log, ${path}, cannot be read.`, {
      hint: "Check the path and who may read the file.",
      cause: error,
    });
  }
}

function certificateIn(parameter: string, path: string | undefined, bytes: Uint8Array): X509Certificate {
  try {
    // Node reads other forms too, its TLS none.
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
  return new CairnError("CONFIG_INVALID", `The ${parameter} of the NATS log, ${path}, holds no ${what}.`, {
    hint: `It has to be a ${what} in PEM (-----BEGIN …), and not encrypted.`,
    cause,
  });
}
