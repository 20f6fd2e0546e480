import { omitUndefined } from "@cairn/text";
import type { ConfigInput, requireConfig } from "@cairn/config";
import type { HttpOptions } from "@cairn/engine";
import type { Terminal } from "../terminal/terminal.ts";
import type { CommandRun } from "./command.ts";
import { type OptionValues, textValue } from "./option-specs.ts";

/** The long name of -j is not `--json`, which every command has for its output. */
export const CONFIGURATION_OPTIONS = {
  file: {
    ...textValue(
      "<file>",
      "the configuration (default: ./cairn.edn; otherwise ./cairn.json; otherwise the built-in one)",
    ),
    short: "f",
  },
  edn: { ...textValue("<edn>", "EDN that overrides everything else"), short: "e" },
  configJson: { ...textValue("<json>", "JSON that overrides the file and the environment"), short: "j" },
};

export type ConfigurationOptions = Partial<OptionValues<typeof CONFIGURATION_OPTIONS>>;

/** Returns whether the command line gives a configuration, instead of the working directory's or the built-in one. */
export function isConfigured({ file, edn, configJson }: ConfigurationOptions): boolean {
  return [file, edn, configJson].some((one) => one !== undefined);
}

export type ConfiguredRun = CommandRun<ConfigurationOptions>;

/** Reads the configuration, and throws its problems. Starts, creates and deletes nothing. */
export async function readConfiguration(
  { options, terminal }: ConfiguredRun,
  use: Pick<ConfigInput, "isForNode"> = {},
): Promise<ReturnType<typeof requireConfig>> {
  const config = await import("@cairn/config");
  return config.requireConfig(await config.readConfig({ ...inputOf(options, terminal), ...use }));
}

/** Undefined if there is none. Throws for its problems, except those of tokens if `tokenKnown`. */
export async function readServer(
  options: ConfigurationOptions,
  terminal: Terminal,
  { tokenKnown }: { readonly tokenKnown: boolean },
): Promise<HttpOptions | undefined> {
  // This module is loaded only here, because no configuration is read if --url is given.
  const { readHttpServer } = await import("@cairn/config");
  return await readHttpServer(inputOf(options, terminal), tokenKnown ? ["auth-token", "tokens"] : []);
}

function inputOf({ file, edn, configJson }: ConfigurationOptions, { env, cwd }: Terminal): ConfigInput {
  return { ...omitUndefined({ file, edn, json: configJson }), env, cwd };
}
