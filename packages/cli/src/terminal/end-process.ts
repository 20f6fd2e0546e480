import { spawn } from "node:child_process";

/** The time within which a process ends by itself (ms). */
const END_MS = 1_000;

/** A process since Node 22.15. */
type Replaceable = NodeJS.Process & {
  execve?(file: string, argv: readonly string[], env: Record<string, string>): void;
};

/** Ends the process within about a second: `process.exit` waits for system calls that a hanging volume blocks. */
export function endProcess(code: number): void {
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

/** Ends the process if it does not end by itself, because something in it still waits for a call that does not return. */
export function endProcessIfStuck(code: number): void {
  setTimeout(() => endProcess(code), END_MS).unref();
}
