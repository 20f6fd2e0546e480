import { configSchema } from "../../config/config-schema.ts";
import { configAsJson, printConfig } from "../../config/print-config.ts";
import { requireConfig } from "../../config/read-config.ts";
import {
  type AddCommand,
  addGroup,
  describeCommand,
  type OutputOptions,
} from "../options/command-options.ts";
import {
  type ConfigurationOptions,
  configurationOptions,
  readConfiguration,
} from "../options/configuration.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";

type ConfigCommandOptions = ConfigurationOptions & OutputOptions;

/** `cairn config check`, `cairn config print` and `cairn config schema`. */
export const addConfig: AddCommand = (parent, terminal) => {
  const group = addGroup(parent, "config", "Look at the configuration");

  configurationOptions(
    describeCommand(group.command("check"), "Check the configuration; starts nothing", [
      "cairn config check -f cairn.edn",
    ]),
  ).action(async (options: ConfigCommandOptions) => {
    const { notices } = requireConfig(await readConfiguration(options, terminal));
    if (options.json === true) return writeJson(terminal.stdout, { ok: true, notices });
    return writeLine(terminal.stdout, [...notices.map((notice) => `notice: ${notice}`), "ok"].join("\n"));
  });

  configurationOptions(
    describeCommand(group.command("print"), "Print every value with where it came from, secrets redacted", [
      "NATS_URL=nats://10.0.0.7:4222 cairn config print",
    ]),
  ).action(async (options: ConfigCommandOptions) => {
    const config = requireConfig(await readConfiguration(options, terminal));
    if (options.json === true) return writeJson(terminal.stdout, configAsJson(config));
    return writeLine(terminal.stdout, printConfig(config).trimEnd());
  });

  describeCommand(group.command("schema"), "Print a JSON Schema of the configuration, for editors", [
    "cairn config schema > cairn.schema.json",
  ]).action(({ json }: OutputOptions) =>
    writeLine(terminal.stdout, JSON.stringify(configSchema(), undefined, json === true ? 0 : 2)),
  );
};
