#!/usr/bin/env node
import { systemErrorCode } from "@cairn/kv";
import { reportError } from "./report-error.ts";
import { runCli } from "./run-cli.ts";
import type { Terminal } from "./terminal.ts";

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
  forceExit: (code) => process.exit(code),
};

// `cairn list | head` closes the pipe when it has seen enough. A node goes on without readers of its log.
process.stdout.on("error", (error) => {
  if (systemErrorCode(error) !== "EPIPE") throw error;
  if (argv[0] !== "start") process.exit(0);
});

async function endWith(error: Error): Promise<void> {
  const options = { json: argv.includes("--json"), debug: argv.includes("--debug") };
  process.exit(await reportError(error, terminal, options));
}

process.on("uncaughtException", (error) => void endWith(error));

process.exitCode = await runCli(argv, terminal);
