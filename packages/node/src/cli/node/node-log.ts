import { type Logger, pino } from "pino";
import type { Terminal } from "../terminal/terminal.ts";

/** How a node's log is written. */
export interface NodeLogOptions {
  /** JSON lines also on a terminal. */
  readonly json: boolean;
  readonly level: string;
}

/** A node's log on standard output: readable lines on a terminal, JSON lines in a pipe. */
export async function nodeLog(terminal: Terminal, { json, level }: NodeLogOptions): Promise<Logger> {
  const { stdout } = terminal;
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (json || stdout.isTTY !== true) {
    // Level names instead of numbers, which only pino's own tools know.
    return pino({ ...options, formatters: { level: (label) => ({ level: label }) } }, stdout);
  }
  // Only where somebody looks: a start without a terminal would wait for it to be loaded.
  const { PinoPretty } = await import("pino-pretty");
  const colorize = terminal.env["NO_COLOR"] === undefined;
  return pino(options, PinoPretty({ destination: stdout, colorize, translateTime: "SYS:HH:MM:ss.l" }));
}

/** The levels of the log, from most to least. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
