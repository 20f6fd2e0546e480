import { createPrivateKey, X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContextOptions, type Server as TlsServer } from "node:tls";
import { CairnError, errorMessage } from "@cairn/kv";
import { certificateProblem, type HttpOptions, type NodeMetrics } from "@cairn/engine";
import type { HttpLogger } from "../answers/failed-requests.ts";
import { readFileOf, type ReloadedFiles } from "./reloaded-files.ts";

export type ServerTlsFiles = NonNullable<HttpOptions["tls"]>;
type TlsContents = Pick<SecureContextOptions, "cert" | "key" | "ca">;

/** Reads and checks a certificate and its key. Throws `CONFIG_INVALID`, which names the parameter and the file. */
async function readIdentity({ cert, key }: ServerTlsFiles) {
  const certs = await readFileOf("cert of tls", cert);
  const keys = await readFileOf("key of tls", key);
  const certificate = certificateIn("cert", cert, certs);
  const privateKey = usable("key", key, "private key", () => createPrivateKey(keys));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The key in ${key} does not belong to the certificate in ${cert}.`,
      "Set key of tls to the key of the certificate, or cert to the certificate of the key. The node's own certificate comes first in the file.",
    );
  }
  const context = { cert: certs, key: keys };
  usable("cert", cert, "certificate", () => createSecureContext(context));
  return { context, certificate };
}

/** Reads and checks the certificates of authorities. Throws `CONFIG_INVALID`, which names the parameter and the file. */
async function readAuthorities(path: string): Promise<Pick<TlsContents, "ca">> {
  const ca = await readFileOf("client-ca of tls", path);
  // Node would use the certificates up to the first one that it cannot read, and refuse the clients of all others.
  for (const certificate of ca
    .toString("latin1")
    .split(/(?=-----BEGIN CERTIFICATE-----)/)
    .slice(1))
    certificateIn("client-ca", path, Buffer.from(certificate, "latin1"));
  certificateIn("client-ca", path, ca);
  usable("client-ca", path, "certificate", () => createSecureContext({ ca }));
  return { ca };
}

function certificateIn(parameter: string, path: string, bytes: Buffer): X509Certificate {
  return usable(parameter, path, "certificate", () => {
    // X509Certificate also reads other formats, which Node's TLS does not accept.
    if (!bytes.includes("-----BEGIN CERTIFICATE-----")) throw new Error("it is not in PEM format");
    return new X509Certificate(bytes);
  });
}

function usable<T>(parameter: string, path: string, what: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The file of ${parameter} of tls, ${path}, does not contain a ${what} that can be used (${errorMessage(cause)}).`,
      {
        hint: `Use a file that contains a complete ${what} in PEM format (-----BEGIN …); a private key must not be encrypted.`,
        cause,
      },
    );
  }
}

const REFUSED = "A file for TLS has changed, but cannot be used. What it contained before remains in use.";

/** The TLS of a server, which follows changes of its files. Files that cannot be used are logged and change nothing. */
export class ReloadedTls {
  context: TlsContents = {};
  #server: TlsServer | undefined;

  /** Reads the files, and again whenever they change. Throws `CONFIG_INVALID`. */
  static async open(
    options: ServerTlsFiles,
    files: ReloadedFiles,
    logger: HttpLogger,
    onCertificate?: NodeMetrics["onCertificate"],
  ): Promise<ReloadedTls> {
    const tls = new ReloadedTls();
    const { cert, key, clientCa } = options;
    const useIdentity = ({ context, certificate }: Awaited<ReturnType<typeof readIdentity>>): void => {
      tls.#use(context);
      onCertificate?.(certificate);
      const problem = certificateProblem(certificate, Date.now());
      if (problem !== undefined) logger.warn({ cert, hint: problem.hint }, problem.message);
    };
    await files.follow([cert, key], REFUSED, async () => await readIdentity(options), useIdentity);
    if (clientCa !== undefined)
      await files.follow(
        [clientCa],
        REFUSED,
        async () => await readAuthorities(clientCa),
        (authorities) => tls.#use(authorities),
      );
    return tls;
  }

  #use(context: TlsContents): void {
    this.context = { ...this.context, ...context };
    // Connections that are open keep the certificate with which they began.
    this.#server?.setSecureContext(this.context);
  }

  follow(server: TlsServer): void {
    this.#server = server;
    server.setSecureContext(this.context);
  }
}
