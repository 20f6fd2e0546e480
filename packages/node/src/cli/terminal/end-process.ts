import { spawn } from "node:child_process";

/** The time within which a process ends by itself (ms). */
const END_MS = 1_000;

/** A process since Node 22.15. */
type Replaceable = NodeJS.Process & {
  execve?(file: string, argv: readonly string[], env: Record<string, string>): void;
};

/**
 * Ends the process within about a second, even if system calls do not return because a volume hangs. `process.exit`
 * waits for such calls on other threads.
 */
export function endProcess(code: number): void {
  try {
    killLater();
    // The system ends all other threads if another program replaces this one. Thus, the exit code is preserved, and
    // process 1 of a container, which no other process of the container can kill, ends as well.
    const replaceable: Replaceable = process;
    replaceable.execve?.(process.execPath, [process.execPath, "--eval", `process.exit(${code})`], {});
  } catch {
    // The system may refuse both, and Windows cannot replace a program.
  }
  process.exit(code);
}

/**
 * Starts a process that kills this one if it still exists when {@link END_MS} have passed. Nothing in this process can
 * run while `process.exit` waits. SIGKILL is safe at any time.
 */
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
