import { configSchema, configAsJson, printConfig, productionNotices } from "@cairn/config";
import { readFilesOf } from "@cairn/node";
import { command, commandGroup } from "../options/command.ts";
import { CONFIGURATION_OPTIONS, readConfiguration } from "../options/configuration.ts";

const addCheck = command({
  syntax: "check",
  description: "Check the configuration without starting anything",
  examples: ["cairn config check -f cairn.edn"],
  options: CONFIGURATION_OPTIONS,
  async act(run) {
    const config = await readConfiguration(run, { isForNode: true });
    const notices = [...config.notices, ...productionNotices(config)];
    await readFilesOf(config, (notice) => void notices.push(notice));
    const lines = [...notices.map((notice) => `notice: ${notice}`), "ok"];
    await run.answer({ ok: true, notices }, lines.join("\n"));
  },
});

const addPrint = command({
  syntax: "print",
  description: "Print every value with its origin, but redact secrets",
  examples: ["NATS_URL=nats://10.0.0.7:4222 cairn config print"],
  options: CONFIGURATION_OPTIONS,
  async act(run) {
    const config = await readConfiguration(run);
    await run.answer(configAsJson(config), printConfig(config).trimEnd());
  },
});

const addSchema = command({
  syntax: "schema",
  description: "Print a JSON Schema of the configuration, for editors",
  examples: ["cairn config schema > cairn.schema.json"],
  options: {},
  async act(run) {
    const schema = configSchema();
    await run.answer(schema, JSON.stringify(schema, undefined, 2));
  },
});

export const addConfig = commandGroup("config", "Check and print the configuration", [
  addCheck,
  addPrint,
  addSchema,
]);
