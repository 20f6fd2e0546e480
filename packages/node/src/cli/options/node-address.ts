import { readFile } from "node:fs/promises";
import { ALL_RIGHTS, type HttpOptions, includesRight } from "../../api/system.ts";
import { NodeClient } from "../requests/node-client.ts";
import { clientTls } from "./client-tls.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { NodeOptions } from "./command-options.ts";
import { type ConfigurationOptions, isConfigured, readServer } from "./configuration.ts";

export interface NodesOptions extends Omit<NodeOptions, "url"> {
  readonly url?: string | readonly string[];
}

/**
 * Runs `use` with a client of the node that the options name. In order of precedence, the node is named by --url, by
 * the configuration on the command line (-f, -e, -j), by `CAIRN_URL`, or by the configuration that `cairn start` would
 * use here. A configuration provides the address and the token of cairn/http-server.
 */
export async function withNode<T>(
  terminal: Terminal,
  options: NodeOptions,
  use: (client: NodeClient) => Promise<T>,
): Promise<T> {
  return await withNodes(terminal, options, async ([client]) => await use(client));
}

/** Like {@link withNode}, but with one client for each of several addresses. */
export async function withNodes<T>(
  terminal: Terminal,
  options: NodesOptions,
  use: (clients: readonly [NodeClient, ...NodeClient[]]) => Promise<T>,
): Promise<T> {
  const { urls, token, ownCert } = await findNodes(options, terminal);
  const tls = await clientTls(options, terminal, ownCert);
  const [first, ...others] = urls.map((url) => new NodeClient(nodeAddress(url), token, tls));
  if (first === undefined) throw new UsageError("--url names no address.");
  try {
    return await use([first, ...others]);
  } finally {
    for (const client of [first, ...others]) client.close();
  }
}

async function findNodes(
  { url, token, ...options }: NodesOptions,
  terminal: Terminal,
): Promise<{
  readonly urls: readonly string[];
  readonly token: string | undefined;
  /** The certificate of the node, if its address comes from its configuration. */
  readonly ownCert?: string | undefined;
}> {
  const { CAIRN_URL: ambient = "", CAIRN_AUTH_TOKEN: ambientToken = "" } = terminal.env;
  const given = isConfigured(options);
  const named = url ?? (given || ambient === "" ? undefined : ambient);
  const urls = typeof named === "string" ? [named] : named;
  const known = token ?? (ambientToken === "" ? undefined : ambientToken);
  // A token from a file in the working directory is sent only to the node in that file, never to a node named in
  // another way.
  if (urls !== undefined && (!given || token !== undefined)) return { urls, token: known };
  const http = await readServer(options, terminal, { tokenKnown: known !== undefined });
  return {
    urls: urls ?? [addressOf(http, options)],
    token: token ?? (await ownToken(http)) ?? known,
    ownCert: urls === undefined ? http?.tls?.cert : undefined,
  };
}

/**
 * Returns the value of the configuration's first token with all rights. Returns undefined if there is none, or if this
 * process cannot read it; the command then needs --token.
 */
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
function nodeAddress(text: string): string {
  const url = text.includes("://") ? text : `http://${text}`;
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new UsageError(
    `${text} is not the address of a node.`,
    "Write, for example, --url http://127.0.0.1:3000.",
  );
}
