import { readFile } from "node:fs/promises";
import { type NodeRequest, ALL_RIGHTS, includesRight } from "@cairn/client/protocol";
import type { HttpOptions } from "@cairn/engine";
import { addressUrl } from "@cairn/text";
import { NodeClient } from "../requests/node-client.ts";
import { clientTls } from "./client-tls.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { CommandRun, OutputOptions } from "./command.ts";
import {
  CONFIGURATION_OPTIONS,
  type ConfigurationOptions,
  isConfigured,
  readServer,
} from "./configuration.ts";
import { flag, type OptionValues, repeatedValue, textValue } from "./option-specs.ts";

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

/** Options of commands that read documents, events, queues or policies. */
export const READ_OPTIONS = {
  ...NODE_OPTIONS,
  linearizable: flag("include every write that any node has acknowledged"),
};

export type NodeOptions = OutputOptions & Partial<OptionValues<typeof NODE_OPTIONS>>;
type NodesOptions = OutputOptions & Partial<OptionValues<typeof NODES_OPTIONS>>;
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
  const tls = await clientTls(options, terminal, ownCert);
  const [first, ...others] = urls.map((url) => new NodeClient(nodeAddress(url), token, tls));
  if (first === undefined) throw new UsageError("--url names no address.");
  for (const client of [first, ...others]) run.defer(() => client.close());
  return [first, ...others];
}

/** Returns the response of the node that the options name. */
export async function askNode<T>(run: CommandRun<NodeOptions>, request: NodeRequest): Promise<T> {
  return (await (await openNode(run)).json(request)) as T;
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

/** Returns the address at which a server with these options can be reached from its own machine. */
function addressOf(http: HttpOptions | undefined, { file }: ConfigurationOptions): string {
  const source = file ?? "the configuration";
  if (http === undefined) {
    throw new UsageError(`The node of ${source} has no HTTP server.`, "Name another node with --url.");
  }
  const { host, port } = http;
  if (port === 0) {
    throw new UsageError(
      `The node of ${source} listens on any free port (0).`,
      "Name its address with --url. The node logs its address when it is ready.",
    );
  }
  const reached = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `${http.tls === undefined ? "http" : "https"}://${reached.includes(":") ? `[${reached}]` : reached}:${port}`;
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
