#!/usr/bin/env node
import { endProcess, endProcessIfStuck } from "./terminal/end-process.ts";
import { reportError } from "./terminal/report-error.ts";
import { runCli } from "./run-cli.ts";
import type { Terminal } from "./terminal/terminal.ts";

const argv = process.argv.slice(2);

const terminal: Terminal = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  onSignal: (signals, listener) => {
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  },
  forceExit: endProcess,
};

// The writing code gets the error and cleans up. A node runs on if its log output has no reader or the disk is full.
for (const output of [process.stdout, process.stderr]) output.on("error", () => undefined);

async function endWith(error: Error): Promise<void> {
  const options = { json: argv.includes("--json"), debug: argv.includes("--debug") };
  endProcess(await reportError(error, terminal, options));
}

process.on("uncaughtException", (error) => void endWith(error));

const code = await runCli(argv, terminal);
process.exitCode = code;
endProcessIfStuck(code);
