import { spawn } from "node:child_process";
import { devNull } from "node:os";
import { join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { HistoryError } from "./history-error.ts";

/** A running git command. `finished` rejects with a {@link HistoryError} unless git exits with status 0. */
export interface GitProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly finished: Promise<void>;
  stop(): void;
}

// Git sets these variables for its hooks and aliases. They would redirect `-C` to another repository or another set of
// commits.
const INHERITED_VARIABLES = [
  "GIT_DIR",
  "GIT_WORK_TREE",
  "GIT_COMMON_DIR",
  "GIT_INDEX_FILE",
  "GIT_OBJECT_DIRECTORY",
  "GIT_ALTERNATE_OBJECT_DIRECTORIES",
  "GIT_SHALLOW_FILE",
  "GIT_PREFIX",
  "GIT_NAMESPACE",
  "GIT_LITERAL_PATHSPECS",
  "GIT_GLOB_PATHSPECS",
  "GIT_NOGLOB_PATHSPECS",
  "GIT_ICASE_PATHSPECS",
];
// Only the end of the output is kept, because git may report every object of a broken repository.
const MAX_STDERR_CHARACTERS = 4096;

/** Returns an environment in which git shows the stored history: no replacements, no grafts, untranslated messages. */
export function gitEnvironment(): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env };
  for (const name of INHERITED_VARIABLES) delete environment[name];
  // `explain` recognises English messages.
  environment["LC_ALL"] = "C";
  environment["GIT_NO_REPLACE_OBJECTS"] = "1";
  environment["GIT_OPTIONAL_LOCKS"] = "0";
  // A path below the null device cannot exist and, unlike the device itself, causes no warning.
  environment["GIT_GRAFT_FILE"] = join(devNull, "none");
  return environment;
}

/** Starts `git ARGS` in `directory`. `command` replaces the program `git` (see the oracle's use of a shell). */
export function startGit(
  directory: string,
  args: readonly string[],
  command: readonly [string, ...string[]] = ["git"],
): GitProcess {
  const [program, ...before] = command;
  const child = spawn(program, [...before, "-C", directory, ...args], {
    env: gitEnvironment(),
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-MAX_STDERR_CHARACTERS);
  });
  // The pipe breaks if git exits early; `finished` reports the reason.
  child.stdin.on("error", () => undefined);
  const finished = new Promise<void>((fulfil, reject) => {
    child.once("error", (cause) => reject(notStarted(program, cause)));
    child.once("close", (status, signal) => {
      if (status === 0) fulfil();
      else reject(explain(resolve(directory), args[0] ?? "", stderr, signal ?? `status ${String(status)}`));
    });
  });
  // Callers that stop git early do not wait for `finished`.
  finished.catch(() => undefined);
  return { stdin: child.stdin, stdout: child.stdout, finished, stop: () => void child.kill() };
}

/** Runs a git command with a short output and returns the output without its last newline. */
export async function askGit(directory: string, args: readonly string[]): Promise<string> {
  const git = startGit(directory, args);
  git.stdin.end();
  let answer = "";
  git.stdout.setEncoding("utf8");
  for await (const text of git.stdout) answer += String(text);
  await git.finished;
  return answer.replace(/\n$/, "");
}

function notStarted(program: string, cause: Error): HistoryError {
  if ("code" in cause && cause.code === "ENOENT") {
    return new HistoryError(`The command ${program} was not found.`, {
      hint: "Install git 2.30 or newer and make sure that it is on the PATH.",
      cause,
    });
  }
  return new HistoryError(`The command ${program} could not be started: ${cause.message}.`, { cause });
}

function explain(place: string, command: string, stderr: string, exit: string): HistoryError {
  if (stderr.includes("not a git repository")) {
    return new HistoryError(`${place} is not a git repository.`, {
      hint: "Give the directory of a repository with --repo.",
    });
  }
  if (stderr.includes("cannot change to")) {
    return new HistoryError(`The directory ${place} cannot be entered.`, {
      hint: "Give the directory of a repository with --repo.",
    });
  }
  const reason = stderr.trim().replaceAll("\n", " ");
  return new HistoryError(`git ${command} exited with code ${exit}${reason === "" ? "." : `: ${reason}`}`, {
    hint: "Check the repository with git fsck.",
  });
}
