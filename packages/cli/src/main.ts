#!/usr/bin/env node
import { constants } from "node:os";
import { RUN_AGAIN } from "./terminal/run-again.ts";

/** The oldest Node on which Cairn runs, as declared by `engines` in package.json. */
const OLDEST_NODE = "20.19";

// For process 1, as in a container, the kernel ignores signals that the process does not handle itself.
if (process.pid === 1) process.on("SIGINT", endUnlessHandled).on("SIGTERM", endUnlessHandled);

const [needed = 0, neededMinor = 0] = OLDEST_NODE.split(".").map(Number);
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
// The other modules use what an older Node lacks.
if (major < needed || (major === needed && minor < neededMinor)) {
  const message = `Cairn needs Node ${OLDEST_NODE} or later, and this is Node ${process.versions.node} (${process.execPath}).`;
  refuse(message, "Install a newer Node, or put one first in PATH, and run the command again.");
} else {
  // A process that may open too few files cannot load its modules, not even the one that reports errors.
  const loaded = await import("./run-process.ts").catch((error: Error) =>
    refuse(`The program's files cannot be loaded: ${error.message}.`, RUN_AGAIN),
  );
  await loaded?.runProcess(process.argv.slice(2));
}

/** Reports an error without any other module. */
function refuse(message: string, hint: string): undefined {
  const code = "SYSTEM_REFUSED";
  const json = JSON.stringify({ error: { code, message, hint } });
  const text = `${code}: ${message}\n  hint: ${hint}`;
  process.stderr.write(`${process.argv.includes("--json") ? json : text}\n`);
  process.exitCode = 3;
}

function endUnlessHandled(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal]);
}
