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
  onInterrupt: (listener) => {
    process.once("SIGINT", listener);
    return () => process.off("SIGINT", listener);
  },
});
