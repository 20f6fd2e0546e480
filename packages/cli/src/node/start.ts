import { type Logger, pino } from "pino";
import { runNode } from "@cairn/node";
import { tellOlderData, createSystem, requireConfig } from "@cairn/config";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS, readConfiguration } from "../options/configuration.ts";
import type { OptionSpec } from "../options/option-specs.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type ServiceState, tellServiceManager } from "./service-manager.ts";
import { stopAtSignal } from "./stop-node.ts";

const STOP_LIMIT_MS = 10_000;

const LOG_LEVEL: OptionSpec<string> = {
  value: "<level>",
  description: "the minimum severity of logged messages",
  choices: ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
  fallback: "info",
};

export const addStart = command({
  syntax: "start",
  description: "Run a node until it is stopped",
  examples: ["cairn start", `cairn start -f cairn.edn -e '{:cairn/http-server {:port 3001}}'`],
  options: { ...CONFIGURATION_OPTIONS, logLevel: LOG_LEVEL },
  async act({ terminal, options, json }) {
    const config = requireConfig(await readConfiguration(options, terminal));
    const logger = await nodeLog(terminal, json, options.logLevel, config.nodeId);
    const onNotice = (notice: string): void => logger.warn(notice);
    for (const notice of config.notices) onNotice(notice);
    await tellOlderData(config, onNotice);
    const tellService = (state: ServiceState): Promise<void> =>
      tellServiceManager(state, terminal.env, onNotice);
    // Signals are caught before the node is created, so that none kills the process while it is starting.
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
          { url: node.url },
          `${node.id} is ready${node.url === undefined ? "" : ` at ${node.url}`}`,
        );
        return tellService("READY=1");
      },
      // The node's log output and its status already contain the reason why it stopped before it was ready.
      () => undefined,
    );
    const code = await stop(node);
    if (code !== 0) terminal.forceExit(code);
  },
});

/** Returns a node's log on standard output: readable lines on a terminal, JSON lines in a pipe and with `json`. */
async function nodeLog({ stdout, env }: Terminal, json: boolean, level: string, id: string): Promise<Logger> {
  const options = { level, timestamp: pino.stdTimeFunctions.isoTime };
  if (json || stdout.isTTY !== true) {
    // Levels are written by name, because only pino's own tools understand its numbers.
    return pino(
      { ...options, base: { node: id }, formatters: { level: (label) => ({ level: label }) } },
      stdout,
    );
  }
  // The formatter is loaded only for a terminal, because loading it takes time.
  const { PinoPretty } = await import("pino-pretty");
  const colorize = env["NO_COLOR"] === undefined;
  return pino(
    { ...options, base: null },
    PinoPretty({ destination: stdout, colorize, translateTime: "SYS:HH:MM:ss.l o" }),
  );
}
