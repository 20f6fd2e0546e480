import { type Logger, pino } from "pino";
import type { Terminal } from "../terminal/terminal.ts";

export interface NodeLogOptions {
  /** If true, JSON lines are written even to a terminal. */
  readonly json: boolean;
  readonly level: string;
}

/** Returns a node's log on standard output: readable lines on a terminal, JSON lines in a pipe. */
export async function nodeLog(terminal: Terminal, { json, level }: NodeLogOptions): Promise<Logger> {
  const { stdout } = terminal;
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (json || stdout.isTTY !== true) {
    // Levels are written by name, because only pino's own tools understand its numbers.
    return pino({ ...options, formatters: { level: (label) => ({ level: label }) } }, stdout);
  }
  // The formatter is loaded only for a terminal, because loading it takes time.
  const { PinoPretty } = await import("pino-pretty");
  const colorize = terminal.env["NO_COLOR"] === undefined;
  return pino(options, PinoPretty({ destination: stdout, colorize, translateTime: "SYS:HH:MM:ss.l" }));
}

/** The log levels, from the most verbose to the least. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
