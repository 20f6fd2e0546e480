import { type Logger, pino } from "pino";
import { runNode } from "@cairn/node";
import { tellOlderData, createSystem } from "@cairn/config";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS, readConfiguration } from "../options/configuration.ts";
import type { OptionSpec } from "../options/option-specs.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { errorMessage, wait } from "@cairn/kv";
import { once } from "node:events";
import type { NodeApi } from "@cairn/engine";
import { ENDING_SIGNALS } from "../terminal/interrupt.ts";
import { spawn } from "node:child_process";

const STOP_LIMIT_MS = 10_000;
/** For how long a repeated signal is ignored: a group or a wrapper may cause a second one. */
const REPEATED_MS = 1_000;

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
  async act(run) {
    const { terminal, options, json } = run;
    const config = await readConfiguration(run, { isForNode: true });
    const logger = await nodeLog(terminal, json, options.logLevel, config.nodeId);
    const onNotice = (notice: string): void => logger.warn(notice);
    for (const notice of config.notices) onNotice(notice);
    const { file, isInline, cwd } = config.origin;
    if (file === undefined && !isInline)
      logger.info(
        `There is no cairn.edn or cairn.json in ${cwd}, so this node runs on the built-in default, with its data in ${config.dir}.`,
      );
    void tellOlderData(config, onNotice);
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

interface SignalStopOptions {
  readonly onSignal: (signal: NodeJS.Signals) => void;
  /** Called when the node could not stop, did not stop in time, or a second signal forced it. */
  readonly onForced: (sentence: string) => void;
  /** The time within which the node must stop (ms). */
  readonly limitMs?: number;
  readonly now?: () => number;
}

/** Listens for signals at once. The returned function waits for one, stops the node, and returns the exit code. */
export function stopAtSignal(
  terminal: Terminal,
  options: SignalStopOptions,
): (node: NodeApi) => Promise<number> {
  const { limitMs = STOP_LIMIT_MS, now = Date.now } = options;
  const begun = new AbortController();
  const forced = new AbortController();
  let first: number | undefined;
  const forget = terminal.onSignal(ENDING_SIGNALS, (signal) => {
    if (first === undefined) {
      first = now();
      options.onSignal(signal);
      begun.abort();
    } else if (now() - first > REPEATED_MS)
      forced.abort(`A second ${signal} arrived before the node had stopped.`);
  });

  return async (node) => {
    await aborted(begun.signal);
    const done = new AbortController();
    try {
      const cut = await Promise.race([
        // The code of the error is about its cause, such as a folder. To a service manager, it would mean a configuration
        // with which a restart fails.
        node.close().then(
          () => undefined,
          (error: unknown) => `The node did not stop as it should: ${errorMessage(error)}`,
        ),
        aborted(forced.signal),
        wait(limitMs, done.signal).then(() => tooLong(node, limitMs)),
      ]);
      if (cut === undefined) return 0;
      options.onForced(cut);
      return 1;
    } finally {
      done.abort();
      forget();
    }
  };
}

async function aborted(signal: AbortSignal): Promise<string> {
  if (!signal.aborted) await once(signal, "abort");
  return String(signal.reason);
}

async function tooLong(node: NodeApi, limitMs: number): Promise<string> {
  const saving = await Promise.race([
    node.status().then(
      ({ checkpoints }) => checkpoints.running?.step,
      () => undefined,
    ),
    wait(200).then(() => undefined),
  ]);
  const what =
    saving === undefined
      ? `these resources are still open: ${[...new Set(process.getActiveResourcesInfo())].join(", ")}`
      : `a checkpoint is being saved (${saving})`;
  return `The node did not stop within ${limitMs / 1000} s: ${what}.`;
}

/** A change of a service's state, as sd_notify(3) writes it. */
type ServiceState = "READY=1" | "STOPPING=1";

/**
 * Reports a change of state to systemd if it waits for reports (`Type=notify`), with systemd's own command, because
 * Node has no datagram sockets of the Unix domain. Calls `onFailure` if that fails: the node works nevertheless.
 */
async function tellServiceManager(
  state: ServiceState,
  env: Readonly<Record<string, string | undefined>>,
  onFailure: (sentence: string) => void,
): Promise<void> {
  if ((env["NOTIFY_SOCKET"] ?? "") === "") return;
  const child = spawn("systemd-notify", [state], { env: { ...env }, stdio: "ignore" });
  // A stopping process does not wait for systemd.
  child.unref();
  const failure = await once(child, "exit").then(
    ([code, signal]: (number | string | null)[]) => (code === 0 ? undefined : String(code ?? signal)),
    (error: Error) => error.message,
  );
  if (failure !== undefined)
    onFailure(
      `systemd was not told ${state}, because systemd-notify failed (${failure}). The unit needs NotifyAccess=all, and systemd-notify on its PATH; Type=exec does without.`,
    );
}
