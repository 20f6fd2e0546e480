import { requireConfig } from "../../system/read-config.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../command-options.ts";
import { type ConfigurationOptions, configurationOptions, readConfiguration } from "../configuration.ts";
import { writeJson, writeLine } from "../terminal.ts";

/** `cairn config check`. */
export const addConfig: AddCommand = (parent, terminal) => {
  const group = parent.command("config").description("Look at the configuration");

  configurationOptions(
    describeCommand(group.command("check"), "Check the configuration; starts nothing", [
      "cairn config check -f cairn.edn",
    ]),
  ).action(async (options: ConfigurationOptions & OutputOptions) => {
    const { notices } = requireConfig(await readConfiguration(options, terminal));
    if (options.json === true) return writeJson(terminal.stdout, { ok: true, notices });
    return writeLine(terminal.stdout, [...notices.map((notice) => `notice: ${notice}`), "ok"].join("\n"));
  });
};
