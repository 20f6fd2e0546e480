import { readFile } from "node:fs/promises";
import { type NodeRequest, ALL_RIGHTS, includesRight } from "@cairn/client/protocol";
import type { HttpOptions } from "@cairn/engine";
import { addressUrl, localUrl, omitUndefined } from "@cairn/text";
import { NodeClient, type ClientTls } from "../requests/node-client.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { CommandRun } from "./command.ts";
import {
  CONFIGURATION_OPTIONS,
  type ConfigurationOptions,
  isConfigured,
  readServer,
} from "./configuration.ts";
import { flag, type OptionValues, repeatedValue, textValue } from "./option-specs.ts";
import { X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { checkServerIdentity, createSecureContext, rootCertificates } from "node:tls";
import { errorMessage } from "@cairn/kv";

const URL_DEFAULT =
  "default: from -f, -e or -j; otherwise CAIRN_URL; otherwise from ./cairn.edn or ./cairn.json; otherwise http://127.0.0.1:3000";

/** {@link openNodes} defines their precedence. */
export const NODE_OPTIONS = {
  ...CONFIGURATION_OPTIONS,
  url: textValue("<url>", `the node's address (${URL_DEFAULT})`),
  token: textValue(
    "<token>",
    "a token of the node (default: one with all rights from the configuration, otherwise CAIRN_AUTH_TOKEN)",
  ),
  ca: textValue(
    "<file>",
    "certificates of authorities to trust, in addition to the well-known ones (default: CAIRN_CA)",
  ),
  cert: textValue("<file>", "the client's certificate, if the node demands one (default: CAIRN_CERT)"),
  key: textValue("<file>", "the key of the client's certificate (default: CAIRN_KEY)"),
};

/** Options of a command that moves on to another node when one fails. */
export const NODES_OPTIONS = {
  ...NODE_OPTIONS,
  url: repeatedValue(
    "<url>",
    `a node's address (${URL_DEFAULT}); if repeated, the next node takes over when one fails`,
  ),
};

export const READ_OPTIONS = {
  ...NODE_OPTIONS,
  linearizable: flag("include every write that any node has acknowledged"),
};

export type NodeOptions = Partial<OptionValues<typeof NODE_OPTIONS>>;
type NodesOptions = Partial<OptionValues<typeof NODES_OPTIONS>>;
export type NodeReadOptions = OptionValues<typeof READ_OPTIONS>;

/**
 * Returns a client of the node named, in order of precedence, by --url, the configuration on the command line (-f, -e,
 * -j), `CAIRN_URL`, or the configuration that `cairn start` would use here.
 */
export async function openNode(run: CommandRun<NodeOptions>): Promise<NodeClient> {
  return (await openNodes(run))[0];
}

/** Like {@link openNode}, but returns a client for each of several addresses. */
export async function openNodes(
  run: CommandRun<NodesOptions | NodeOptions>,
): Promise<readonly [NodeClient, ...NodeClient[]]> {
  const { options, terminal } = run;
  const { urls, token, ownCert } = await findNodes(options, terminal);
  if (token !== undefined && !/^[\t\x20-\x7e\x80-\xff]*$/.test(token))
    throw new UsageError(
      "The token contains a character that no HTTP header may, such as a line end.",
      "Name the token alone: --token or CAIRN_AUTH_TOKEN.",
    );
  const tls = await clientTls(options, terminal, ownCert);
  const [first, ...others] = urls.map((url) => new NodeClient(nodeAddress(url), token, tls));
  if (first === undefined) throw new UsageError("--url names no address.");
  for (const client of [first, ...others]) run.defer(() => client.close());
  return [first, ...others];
}

export async function askNode<T>(run: CommandRun<NodeOptions>, request: NodeRequest): Promise<T> {
  return await (await openNode(run)).json(request);
}

/** Like {@link askNode}, for reads, which include every acknowledged write if the options demand it. */
export async function readNode<T>(
  run: CommandRun<NodeReadOptions>,
  path: string,
  query: NodeRequest["query"] = {},
): Promise<T> {
  return await askNode<T>(run, { path, query: { ...query, ...readQuery(run.options) } });
}

export function readQuery({ linearizable }: NodeReadOptions): { readonly linearizable: true | undefined } {
  return { linearizable: linearizable || undefined };
}

async function findNodes(
  { url, token, ...options }: NodesOptions | NodeOptions,
  terminal: Terminal,
): Promise<{ urls: readonly string[]; token: string | undefined; ownCert?: string | undefined }> {
  const { CAIRN_URL: ambient = "", CAIRN_AUTH_TOKEN: ambientToken = "" } = terminal.env;
  const given = isConfigured(options);
  const named = url ?? (given || ambient === "" ? undefined : ambient);
  const urls = typeof named === "string" ? [named] : named;
  const known = token ?? (ambientToken.trim() || undefined);
  // A token from a file in the working directory is sent only to the node in that file.
  if (urls !== undefined && (!given || token !== undefined)) return { urls, token: known };
  const http = await readServer(options, terminal, { tokenKnown: known !== undefined });
  return {
    urls: urls ?? [addressOf(http, options)],
    token: token ?? (await ownToken(http)) ?? known,
    // The certificate is trusted only if the address comes from the configuration, too.
    ownCert: urls === undefined ? http?.tls?.cert : undefined,
  };
}

/** Returns the configuration's first token with all rights; undefined if there is none that this process can read. */
async function ownToken(http: HttpOptions | undefined): Promise<string | undefined> {
  const source = http?.tokens?.find(
    ({ rights, buckets }) =>
      buckets === undefined && ALL_RIGHTS.every((right) => includesRight(rights, right)),
  )?.source;
  if (source === undefined || !("file" in source)) return source?.text;
  try {
    return (await readFile(source.file, "utf8")).trim().split(/\s/)[0];
  } catch {
    return undefined;
  }
}

function addressOf(http: HttpOptions | undefined, { file }: ConfigurationOptions): string {
  const source = file ?? "the configuration";
  if (http === undefined) {
    throw new UsageError(`The node of ${source} has no HTTP server.`, "Name another node with --url.");
  }
  const { host, port, tls } = http;
  if (port === 0) {
    throw new UsageError(
      `The node of ${source} listens on any free port (0).`,
      "Name its address with --url. The node logs its address when it is ready.",
    );
  }
  return localUrl(host, port, tls !== undefined);
}

/** Completes an address. If it has no scheme, HTTP is assumed. */
function nodeAddress(given: string): string {
  const url = given.includes("://") ? given : `http://${given}`;
  if (addressUrl(url, "http", "https") !== undefined) return url;
  throw new UsageError(
    `${given} is not the address of a node.`,
    "Write, for example, --url http://127.0.0.1:3000.",
  );
}

/**
 * Returns the options of connections with TLS. `ownCert` is the certificate of the node whose configuration supplied
 * the address. It alone is trusted, whatever name it contains, because the address is one of this machine.
 */
async function clientTls(
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
  const ca = await authority(fileOf("ca"));
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

/** TLS ignores a text without certificates, and then says that the node's is not trusted. */
async function authority(file: string | undefined): Promise<string | undefined> {
  const text = await pem("--ca", file);
  try {
    if (text !== undefined) void new X509Certificate(text);
    return text;
  } catch (error) {
    throw new UsageError(
      `The file of --ca, ${file}, does not contain a certificate (${errorMessage(error)}).`,
      "Give the certificate of the authority in PEM format.",
    );
  }
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
