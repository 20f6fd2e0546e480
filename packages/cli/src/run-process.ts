import { isatty } from "node:tty";
import { endProcess, endProcessIfStuck } from "./terminal/end-process.ts";
import { reportError } from "./terminal/report-error.ts";
import { runCli } from "./run-cli.ts";
import type { Terminal } from "./terminal/terminal.ts";

/** Runs the command line on the streams, the signals and the environment of this process. */
export async function runProcess(argv: readonly string[]): Promise<void> {
  // Without a terminal, SIGHUP is ignored, because Node.js forgets at its start that nohup ignores it.
  const hasTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor));
  if (!hasTerminal) process.on("SIGHUP", () => undefined);

  const terminal: Terminal = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: workingDirectory(),
    onSignal: (signals, listener) => {
      const heard = signals.filter((signal) => hasTerminal || signal !== "SIGHUP");
      for (const signal of heard) process.on(signal, listener);
      return () => {
        for (const signal of heard) process.off(signal, listener);
      };
    },
    forceExit: endProcess,
  };

  // The writing code gets the error and cleans up. A node runs on if its log output has no reader or the disk is full.
  for (const output of [process.stdout, process.stderr]) output.on("error", () => undefined);

  const endWith = async (error: Error): Promise<void> => {
    const options = { json: argv.includes("--json"), debug: argv.includes("--debug") };
    endProcess(await reportError(error, terminal, options));
  };
  process.on("uncaughtException", (error) => void endWith(error));

  process.once("exit", whenEndedEarly);
  const code = await runCli(argv, terminal);
  process.off("exit", whenEndedEarly);
  process.exitCode = code;
  endProcessIfStuck(code);
}

/** A supervisor would take it for success if a module of a configuration ended the process with code 0. */
function whenEndedEarly(code: number): void {
  if (code === 0) process.exitCode = 2;
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    process.stderr.write("USAGE: The working directory no longer exists.\n  hint: Change to another one.\n");
    process.exit(2);
  }
}
