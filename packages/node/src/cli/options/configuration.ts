import type { Command } from "commander";
import type { ConfigInput } from "../../config/config-sources.ts";
import type { ConfigResult } from "../../config/read-config.ts";
import type { HttpOptions } from "../../api/system.ts";
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

/** Whether the command line itself says which configuration is meant; else it is the one that lies here, or the built-in one. */
export function isConfigured({ file, edn, configJson }: ConfigurationOptions): boolean {
  return [file, edn, configJson].some((one) => one !== undefined);
}

/** Reads it; starts, creates and deletes nothing. */
export async function readConfiguration(
  options: ConfigurationOptions,
  terminal: Terminal,
): Promise<ConfigResult> {
  const { readConfig } = await import("../../config/read-config.ts");
  return await readConfig(inputOf(options, terminal));
}

/** Its HTTP server alone, undefined where it has none; throws what is wrong with that. `tokenKnown`: what is said of the token does not count. */
export async function readServer(
  options: ConfigurationOptions,
  terminal: Terminal,
  { tokenKnown }: { readonly tokenKnown: boolean },
): Promise<HttpOptions | undefined> {
  // Loaded where it is needed: with --url nothing of it is.
  const { readHttpServer } = await import("../../config/read-server.ts");
  return await readHttpServer(inputOf(options, terminal), tokenKnown ? ["auth-token"] : []);
}

function inputOf({ file, edn, configJson }: ConfigurationOptions, { env, cwd }: Terminal): ConfigInput {
  return {
    ...(file === undefined ? {} : { file }),
    ...(edn === undefined ? {} : { edn }),
    ...(configJson === undefined ? {} : { json: configJson }),
    env,
    cwd,
  };
}
