#!/usr/bin/env node
import { RUN_AGAIN } from "./terminal/run-again.ts";

// A process that may open too few files cannot load its modules, not even the one that reports errors.
const loaded = await import("./run-process.ts").catch((error: Error) => {
  const code = "SYSTEM_REFUSED";
  const message = `The program's files cannot be loaded: ${error.message}.`;
  const json = JSON.stringify({ error: { code, message, hint: RUN_AGAIN } });
  const text = `${code}: ${message}\n  hint: ${RUN_AGAIN}`;
  process.stderr.write(`${process.argv.includes("--json") ? json : text}\n`);
  process.exitCode = 3;
});
await loaded?.runProcess(process.argv.slice(2));
