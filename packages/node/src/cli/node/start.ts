import { Option } from "commander";
import { runNode } from "../../node/node.ts";
import { tellOlderData } from "../../config/older-data.ts";
import { createSystem } from "../../config/create-system.ts";
import { requireConfig } from "../../config/read-config.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../options/command-options.ts";
import {
  type ConfigurationOptions,
  configurationOptions,
  readConfiguration,
} from "../options/configuration.ts";
import { LOG_LEVELS, nodeLog } from "./node-log.ts";
import { type ServiceState, tellServiceManager } from "./service-manager.ts";
import { stopAtSignal } from "./stop-node.ts";
import type { Terminal } from "../terminal/terminal.ts";

const STOP_LIMIT_MS = 10_000;

interface StartOptions extends ConfigurationOptions, OutputOptions {
  readonly logLevel: string;
}

export const addStart: AddCommand = (parent, terminal) => {
  const command = describeCommand(parent.command("start"), "Run a node until it is stopped", [
    "cairn start",
    `cairn start -f cairn.edn -e '{:cairn/http-server {:port 3001}}'`,
  ]);
  configurationOptions(command)
    .addOption(
      new Option("--log-level <level>", "the minimum severity of logged messages")
        .choices(LOG_LEVELS)
        .default("info"),
    )
    .action((options: StartOptions) => start(options, terminal));
};

async function start(options: StartOptions, terminal: Terminal): Promise<void> {
  const config = requireConfig(await readConfiguration(options, terminal));
  const logger = await nodeLog(terminal, { json: options.json === true, level: options.logLevel });
  const onNotice = (notice: string): void => logger.warn(notice);
  for (const notice of config.notices) onNotice(notice);
  await tellOlderData(config, onNotice);
  const tellService = (state: ServiceState): Promise<void> =>
    tellServiceManager(state, terminal.env, onNotice);
  // Signals are caught before the node is created, so that a signal that arrives while the node is starting does not
  // kill the process in the middle of that.
  const stop = stopAtSignal(terminal, {
    limitMs: STOP_LIMIT_MS + (config.http?.drainMs ?? 0),
    onSignal: (signal) => {
      logger.info(`${signal}: stopping`);
      void tellService("STOPPING=1");
    },
    onForced: (sentence) => logger.error(sentence),
  });
  const node = await runNode(await createSystem(config, { onNotice }), { logger });
  node.ready.then(
    () => {
      logger.info(
        { node: node.id, url: node.url },
        `${node.id} is ready${node.url === undefined ? "" : ` at ${node.url}`}`,
      );
      return tellService("READY=1");
    },
    // The node's log output and its status already contain the reason why it stopped before it was ready.
    () => undefined,
  );
  const code = await stop(node);
  if (code !== 0) terminal.forceExit(code);
}
