import { configSchema } from "../../config/config-schema.ts";
import { configAsJson, printConfig } from "../../config/print-config.ts";
import { requireConfig } from "../../config/read-config.ts";
import {
  type AddCommand,
  addGroup,
  type ConfiguredOptions,
  describeCommand,
  describeConfiguredCommand,
  type OutputOptions,
} from "../options/command-options.ts";
import { readConfiguration } from "../options/configuration.ts";
import { addConfigConvert } from "./config-convert.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";

export const addConfig: AddCommand = (parent, terminal) => {
  const group = addGroup(
    parent,
    "config",
    "Check and print the configuration, or convert the configuration of another system",
  );

  describeConfiguredCommand(group.command("check"), "Check the configuration without starting anything", [
    "cairn config check -f cairn.edn",
  ]).action(async (options: ConfiguredOptions) => {
    const { notices } = requireConfig(await readConfiguration(options, terminal));
    if (options.json === true) return writeJson(terminal.stdout, { ok: true, notices });
    return writeLine(terminal.stdout, [...notices.map((notice) => `notice: ${notice}`), "ok"].join("\n"));
  });

  describeConfiguredCommand(group.command("print"), "Print every value with its origin, but redact secrets", [
    "NATS_URL=nats://10.0.0.7:4222 cairn config print",
  ]).action(async (options: ConfiguredOptions) => {
    const config = requireConfig(await readConfiguration(options, terminal));
    if (options.json === true) return writeJson(terminal.stdout, configAsJson(config));
    return writeLine(terminal.stdout, printConfig(config).trimEnd());
  });

  addConfigConvert(group, terminal);

  describeCommand(group.command("schema"), "Print a JSON Schema of the configuration, for editors", [
    "cairn config schema > cairn.schema.json",
  ]).action(({ json }: OutputOptions) =>
    writeLine(terminal.stdout, JSON.stringify(configSchema(), undefined, json === true ? 0 : 2)),
  );
};
