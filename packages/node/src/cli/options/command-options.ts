import type { Command } from "commander";
import { UsageError } from "../terminal/report-error.ts";
import { NodeClient } from "../requests/node-client.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** Adds one command (or a group of them) to the program. */
export type AddCommand = (parent: Command, terminal: Terminal) => void;

/** What every command takes. */
export interface OutputOptions {
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** What commands that talk to a node take. */
export interface NodeOptions extends OutputOptions {
  /** The node's address; `CAIRN_URL` or the default one when left out. */
  readonly url?: string;
  /** `CAIRN_AUTH_TOKEN` when left out; none at all where the node asks for none. */
  readonly token?: string;
}

/** Adds a command that only holds others. */
export function addGroup(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description).helpCommand(false);
}

/** Adds --json and --debug, and the examples below the help. */
export function describeCommand(command: Command, description: string, examples: readonly string[]): Command {
  return command
    .description(description)
    .option("--json", "print JSON, for machines")
    .option("--debug", "print stack traces of errors")
    .addHelpText("after", `\nExample:\n${examples.map((example) => `  $ ${example}`).join("\n")}`);
}

/** Adds --url and --token as well. */
export function describeNodeCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return describeCommand(command, description, examples)
    .option("--url <url>", "the node's address (CAIRN_URL; default http://127.0.0.1:3000)")
    .option("--token <token>", "the node's auth-token (CAIRN_AUTH_TOKEN)");
}

/** What commands that read documents, events or policies of a node take. */
export interface ReadOptions extends NodeOptions {
  readonly linearizable?: boolean;
}

/** Adds --linearizable as well. */
export function describeReadCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return describeNodeCommand(command, description, examples).option(
    "--linearizable",
    "include everything that any node acknowledged before",
  );
}

/** The parameters of a read's request. */
export function readQuery({ linearizable }: ReadOptions): { linearizable: string | undefined } {
  return { linearizable: linearizable === true ? "true" : undefined };
}

/** Runs `use` with a client of the node that the options or the environment name. */
export async function withNode<T>(
  terminal: Terminal,
  options: NodeOptions,
  use: (client: NodeClient) => Promise<T>,
): Promise<T> {
  const urls = options.url === undefined ? undefined : [options.url];
  return await withNodes(terminal, urls, options.token, async ([client]) => await use(client));
}

/** The same with one client for each of several addresses. */
export async function withNodes<T>(
  terminal: Terminal,
  urls: readonly string[] = [terminal.env["CAIRN_URL"] ?? "http://127.0.0.1:3000"],
  token: string | undefined,
  use: (clients: readonly [NodeClient, ...NodeClient[]]) => Promise<T>,
): Promise<T> {
  const [first, ...others] = urls.map(
    (url) => new NodeClient(nodeAddress(url), token ?? terminal.env["CAIRN_AUTH_TOKEN"]),
  );
  if (first === undefined) throw new UsageError("--url names no address.");
  try {
    return await use([first, ...others]);
  } finally {
    for (const client of [first, ...others]) client.close();
  }
}

/** The address that a person means: without a scheme it is HTTP. */
function nodeAddress(text: string): string {
  const url = text.includes("://") ? text : `http://${text}`;
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new UsageError(`${text} is not an address of a node.`, "For example --url http://127.0.0.1:3000.");
}

/** For options that count: a whole number from `least` on. */
export function wholeNumber(name: string, least: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new UsageError(`${name} is a whole number from ${least} on, not ${text}.`);
    }
    return value;
  };
}
