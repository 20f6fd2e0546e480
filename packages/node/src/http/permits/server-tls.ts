import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContextOptions, type Server as TlsServer } from "node:tls";
import { CairnError, errorMessage } from "@cairn/kv";
import type { ServerTlsFiles } from "../../api/system.ts";
import type { RepeatedWork } from "../../concurrency/repeated-work.ts";
import type { HttpLogger } from "../answers/failed-requests.ts";
import { reloadFiles } from "./reloaded-files.ts";

/** The contents of a server's files, as Node's TLS accepts them, and when the certificate ceases to be valid. */
export interface ServerTls {
  readonly context: Pick<SecureContextOptions, "cert" | "key" | "ca">;
  readonly validUntil: Date;
}

/** Reads and checks the files of a server with TLS. Throws `CONFIG_INVALID`, which names the parameter and the file. */
export async function readServerTls({ cert, key, clientCa }: ServerTlsFiles): Promise<ServerTls> {
  const certs = await contentOf("cert", cert);
  const keys = await contentOf("key", key);
  const ca = clientCa === undefined ? {} : { ca: await contentOf("client-ca", clientCa) };
  const certificate = certificateIn("cert", cert, certs);
  const privateKey = privateKeyIn(key, keys);
  if (clientCa !== undefined && ca.ca !== undefined) certificateIn("client-ca", clientCa, ca.ca);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The key in ${key} does not belong to the certificate in ${cert}.`,
      {
        hint: "Set key of tls to the key of the certificate, or cert to the certificate of the key. The node's own certificate comes first in the file.",
      },
    );
  }
  const context = { cert: certs, key: keys, ...ca };
  try {
    createSecureContext(context);
  } catch (error) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The files of tls cannot be used (${errorMessage(error)}): ${[cert, key, clientCa].filter((file) => file !== undefined).join(", ")}.`,
      { hint: "Use complete certificates and an unencrypted key in PEM format.", cause: error },
    );
  }
  return { context, validUntil: new Date(certificate.validTo) };
}

async function contentOf(parameter: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CairnError("CONFIG_INVALID", `The file of ${parameter} of tls, ${path}, cannot be read.`, {
      hint: "Check the path and the permissions of the file.",
      cause: error,
    });
  }
}

function certificateIn(parameter: string, path: string, bytes: Buffer): X509Certificate {
  try {
    // X509Certificate also reads other formats, which Node's TLS does not accept.
    if (bytes.includes("-----BEGIN CERTIFICATE-----")) return new X509Certificate(bytes);
  } catch (error) {
    throw unlike(parameter, path, "certificate", error);
  }
  throw unlike(parameter, path, "certificate");
}

function privateKeyIn(path: string, bytes: Buffer): KeyObject {
  try {
    return createPrivateKey(bytes);
  } catch (error) {
    throw unlike("key", path, "private key", error);
  }
}

function unlike(parameter: string, path: string, what: string, cause?: unknown): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `The file of ${parameter} of tls, ${path}, does not contain a ${what} that can be used.`,
    { hint: `Use a file that contains an unencrypted ${what} in PEM format (-----BEGIN …).`, cause },
  );
}

/** The TLS of a server, which follows changes of its files. */
export class ReloadedTls {
  #current: ServerTls["context"] = {};
  #server: TlsServer | undefined;
  #reloading: RepeatedWork | undefined;

  /** Reads the files, and again whenever they change. Throws `CONFIG_INVALID`. */
  static async open(files: ServerTlsFiles, logger: HttpLogger): Promise<ReloadedTls> {
    const tls = new ReloadedTls();
    const { cert, key, clientCa } = files;
    tls.#reloading = await reloadFiles({
      paths: [cert, key, ...(clientCa === undefined ? [] : [clientCa])],
      read: async () => await readServerTls(files),
      apply: ({ context, validUntil }) => {
        tls.#current = context;
        // Connections that are open keep the certificate with which they began.
        tls.#server?.setSecureContext(context);
        if (validUntil.getTime() < Date.now()) logger.warn(...expired(cert, validUntil));
      },
      onRefused: (error) => logger.warn(...refusedFiles(error)),
    });
    return tls;
  }

  get context(): ServerTls["context"] {
    return this.#current;
  }

  /** Applies all further changes to `server`. */
  follow(server: TlsServer): void {
    this.#server = server;
    server.setSecureContext(this.#current);
  }

  async close(): Promise<void> {
    await this.#reloading?.stop();
  }
}

function expired(path: string, validUntil: Date): [object, string] {
  return [
    {
      cert: path,
      validUntil: validUntil.toISOString(),
      hint: "Replace the certificate and its key. They are read again when they change.",
    },
    "The certificate of the HTTP server has expired, so clients refuse the connection.",
  ];
}

function refusedFiles(error: unknown): [object, string] {
  if (!(error instanceof CairnError)) throw error;
  const { code, message, hint = "" } = error;
  return [
    { code, message, hint: `${hint} The files are read again when they change.` },
    "A file for TLS has changed, but cannot be used. The certificate and key that were valid before remain in use.",
  ];
}
