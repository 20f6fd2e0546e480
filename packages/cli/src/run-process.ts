import { spawn } from "node:child_process";
import { isatty } from "node:tty";
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
  // Something in the process may still wait for a call that does not return.
  setTimeout(() => endProcess(code), END_MS).unref();
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

/** The time within which a process ends by itself (ms). */
const END_MS = 1_000;

/** A process since Node 22.15. */
type Replaceable = NodeJS.Process & {
  execve?(file: string, argv: readonly string[], env: Record<string, string>): void;
};

/** Ends the process within about a second: `process.exit` waits for system calls that a hanging volume blocks. */
function endProcess(code: number): void {
  try {
    killLater();
    // Replacing the program ends all threads, keeps the exit code, and also ends process 1 of a container.
    const replaceable: Replaceable = process;
    replaceable.execve?.(process.execPath, [process.execPath, "--eval", `process.exit(${code})`], {});
  } catch {
    // The system may refuse both, and Windows cannot replace a program.
  }
  process.exit(code);
}

/** Starts a process that kills this one after {@link END_MS}, because nothing in it runs while `process.exit` waits. */
function killLater(): void {
  // Once this process has ended, the other one has another parent, and the id may belong to another process.
  const kill = `setTimeout(() => process.ppid === ${process.pid} && process.kill(${process.pid}, "SIGKILL"), ${END_MS})`;
  const killer = spawn(process.execPath, ["--eval", kill], {
    detached: true,
    env: {},
    stdio: "ignore",
    windowsHide: true,
  });
  killer.on("error", () => undefined);
  killer.unref();
}
