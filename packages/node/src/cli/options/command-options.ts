import type { Command } from "commander";
import { describeCommand } from "./command.ts";
import { CONFIGURATION_OPTIONS } from "./configuration.ts";
import { NODE_OPTIONS } from "./node-address.ts";
import { addOptions } from "./option-specs.ts";

export type { AddCommand, OutputOptions } from "./command.ts";
export type { ConfiguredOptions, NodeOptions } from "./node-address.ts";
export { addGroup, describeCommand } from "./command.ts";

export function describeConfiguredCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return addOptions(describeCommand(command, description, examples), CONFIGURATION_OPTIONS);
}

export function describeNodeCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return addOptions(describeCommand(command, description, examples), NODE_OPTIONS);
}
