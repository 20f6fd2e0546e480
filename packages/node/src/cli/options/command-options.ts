import type { Command } from "commander";
import { parseDuration } from "../../text/duration.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type ConfigurationOptions, configurationOptions } from "./configuration.ts";

export type AddCommand = (parent: Command, terminal: Terminal) => void;

export interface OutputOptions {
  readonly json?: boolean;
  readonly debug?: boolean;
}

export interface ConfiguredOptions extends OutputOptions, ConfigurationOptions {}

/** `withNode` defines their precedence. */
export interface NodeOptions extends ConfiguredOptions {
  readonly url?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export function addGroup(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description).helpCommand(false);
}

/** Returns a function that adds a command whose only purpose is to group `commands`. */
export function commandGroup(name: string, description: string, commands: readonly AddCommand[]): AddCommand {
  return (parent, terminal) => {
    const group = addGroup(parent, name, description);
    for (const add of commands) add(group, terminal);
  };
}

/** Adds the description, --json, --debug, and the examples below the help. */
export function describeCommand(command: Command, description: string, examples: readonly string[]): Command {
  return command
    .description(description)
    .option("--json", "print JSON, for programs")
    .option("--debug", "print stack traces of errors")
    .addHelpText("after", `\nExample:\n${examples.map((example) => `  $ ${example}`).join("\n")}`);
}

/** Like {@link describeCommand}, but also adds -f, -e and -j, for commands that work with a node, a log or a store. */
export function describeConfiguredCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return configurationOptions(describeCommand(command, description, examples));
}

/** Like {@link describeConfiguredCommand}, but also adds --url, --token and the files for TLS. */
export function describeNodeCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return accessOptions(
    describeConfiguredCommand(command, description, examples).option(
      "--url <url>",
      `the node's address (${ADDRESS})`,
    ),
  );
}

/** Like {@link describeNodeCommand}, except that --url may be repeated. */
export function describeNodesCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return accessOptions(
    describeConfiguredCommand(command, description, examples).option(
      "--url <url>",
      `a node's address (${ADDRESS}); if repeated, the next node takes over when one fails`,
      (url: string, before: readonly string[] = []) => [...before, url],
    ),
  );
}

/** Adds the options by which a command proves its rights, and checks the identity of a node. */
function accessOptions(command: Command): Command {
  return command
    .option("--token <token>", TOKEN)
    .option(
      "--ca <file>",
      "certificates of authorities to trust, in addition to the well-known ones (default: CAIRN_CA)",
    )
    .option("--cert <file>", "the client's certificate, if the node demands one (default: CAIRN_CERT)")
    .option("--key <file>", "the key of the client's certificate (default: CAIRN_KEY)");
}

const ADDRESS =
  "default: from -f, -e or -j; otherwise CAIRN_URL; otherwise from ./cairn.edn or ./cairn.json; otherwise http://127.0.0.1:3000";
const TOKEN =
  "a token of the node (default: one with all rights from the configuration, otherwise CAIRN_AUTH_TOKEN)";

/** The options of commands that read documents, events or policies. */
export interface ReadCommandOptions extends NodeOptions {
  readonly linearizable?: boolean;
}

/** Like {@link describeNodeCommand}, but also adds --linearizable. */
export function describeReadCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return describeNodeCommand(command, description, examples).option(
    "--linearizable",
    "include every write that any node has acknowledged",
  );
}

export function readQuery({ linearizable }: ReadCommandOptions): { linearizable: string | undefined } {
  return { linearizable: linearizable === true ? "true" : undefined };
}

/** Returns a parser for an option whose value is a duration of at least `least` milliseconds. */
export function durationOption(name: string, least: number): (text: string) => number {
  return (text) => {
    const parsed = parseDuration(text, { bare: true });
    if (!("ms" in parsed)) {
      throw new UsageError(
        `${name} must be a duration, not ${JSON.stringify(text)}.`,
        parsed.hint ?? DURATIONS,
      );
    }
    if (parsed.ms >= least) return parsed.ms;
    throw new UsageError(`${name} must be a duration above zero, not ${JSON.stringify(text)}.`, DURATIONS);
  };
}

const DURATIONS = "Write the duration in ISO 8601 format, such as PT30S, PT5M or P7D.";

/** Returns a parser for an option whose value is an integer of at least `least`. */
export function wholeNumber(name: string, least: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new UsageError(`${name} must be a whole number of at least ${least}, not ${text}.`);
    }
    return value;
  };
}
