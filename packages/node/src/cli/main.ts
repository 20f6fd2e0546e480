#!/usr/bin/env node
import { systemErrorCode } from "@cairn/kv";
import { runCli } from "./run-cli.ts";

// `cairn list | head` closes the pipe when it has seen enough.
process.stdout.on("error", (error) => {
  if (systemErrorCode(error) === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
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
});
