import type { Command } from "commander";
import { type ConfigResult, readConfig } from "../../config/read-config.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** Where a command's configuration comes from. */
export interface ConfigurationOptions {
  /** A path, relative to the working directory. */
  readonly file?: string;
  /** Text, as is the JSON; each goes over the file and the environment, EDN over JSON. */
  readonly edn?: string;
  readonly configJson?: string;
}

/** Adds -f, -e and -j. (`--json` is every command's switch for machines, so -j has another long name.) */
export function configurationOptions(command: Command): Command {
  return command
    .option("-f, --file <file>", "the configuration (default ./cairn.edn, else ./cairn.json, else built in)")
    .option("-e, --edn <edn>", "EDN that goes over everything else")
    .option("-j, --config-json <json>", "JSON that goes over the file and the environment");
}

/** Reads it; starts, creates and deletes nothing. */
export function readConfiguration(options: ConfigurationOptions, terminal: Terminal): Promise<ConfigResult> {
  const { file, edn, configJson } = options;
  return readConfig({
    ...(file === undefined ? {} : { file }),
    ...(edn === undefined ? {} : { edn }),
    ...(configJson === undefined ? {} : { json: configJson }),
    env: terminal.env,
    cwd: terminal.cwd,
  });
}
