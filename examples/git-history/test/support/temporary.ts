import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { gitEnvironment } from "../../src/git-process.ts";

/** Creates a directory that is removed after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "git-history-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs git and returns its output as bytes. */
export function git(directory: string, ...args: string[]): Buffer {
  const identity = {
    GIT_AUTHOR_NAME: "Ada",
    GIT_AUTHOR_EMAIL: "ada@example.org",
    GIT_AUTHOR_DATE: "1700000000 +0100",
    GIT_COMMITTER_NAME: "Ada",
    GIT_COMMITTER_EMAIL: "ada@example.org",
    GIT_COMMITTER_DATE: "1700000000 +0100",
    GIT_CONFIG_GLOBAL: "/dev/null",
  };
  return execFileSync("git", ["-C", directory, ...args], {
    env: { ...gitEnvironment(), ...identity },
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Runs git and returns its output as a trimmed string. */
export function gitText(directory: string, ...args: string[]): string {
  return git(directory, ...args)
    .toString("utf8")
    .trim();
}

/** Creates a work tree with one commit of one file, `a`. */
export function smallRepository(): string {
  const directory = temporaryDirectory();
  git(directory, "init", "-q", "-b", "main", "--template=");
  commitFiles(directory, "The first commit", { a: "1" });
  return directory;
}

/**
 * Commits changed files and returns the commit's id. A file whose content is null is deleted. A file can also be given
 * by its mode and object id.
 */
export function commitFiles(
  directory: string,
  message: string,
  files: Record<string, string | { mode: string; oid: string } | null>,
): string {
  for (const [path, content] of Object.entries(files)) {
    if (content === null) git(directory, "rm", "-q", "--cached", "--", path);
    else {
      const { mode, oid } =
        typeof content === "string" ? { mode: "100644", oid: hashObject(directory, content) } : content;
      git(directory, "update-index", "--add", "--replace", "--cacheinfo", `${mode},${oid},${path}`);
    }
  }
  git(directory, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message);
  return gitText(directory, "rev-parse", "HEAD");
}

/** Stores a blob and returns its object id. */
function hashObject(directory: string, content: string): string {
  return execFileSync("git", ["-C", directory, "hash-object", "-w", "--stdin"], { input: content })
    .toString("utf8")
    .trim();
}
