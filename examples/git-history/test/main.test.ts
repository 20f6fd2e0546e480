import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { makeRepository } from "../src/index.ts";
import { commitFiles, gitText, smallRepository, temporaryDirectory } from "./support/temporary.ts";

const MAIN = fileURLToPath(new URL("../dist/src/main.js", import.meta.url));

function run(args: string[], env: NodeJS.ProcessEnv = {}): SpawnSyncReturns<string> {
  if (!existsSync(MAIN)) throw new Error("The example is not built: run pnpm build.");
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", env: { ...process.env, ...env } });
}

describe("the command", () => {
  it("prints the history as NDJSON, with or without the word export", { tags: "rest/slow" }, () => {
    const directory = smallRepository();
    commitFiles(directory, "second", { "é\n": "2" });
    const { stdout, status, stderr } = run(["--repo", directory, "--name", "r"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[1] ?? "").ops[0].slice(0, 3)).toEqual(["put", "files", "r/é\n"]);
    expect(run(["export", "--repo", directory, "--name", "r"]).stdout).toBe(stdout);
    const first = gitText(directory, "rev-parse", "HEAD~1");
    const since = run(["--repo", directory, "--name", "r", "--since-commit", first]);
    expect(since.stdout).toBe(`${lines[1]}\n`);
  });

  it("prints the expected files in the order of a node's keys", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 300, seed: 5 });
    const { stdout, status } = run(["expect", "--repo", directory, "--ref", "main"]);
    expect(status).toBe(0);
    const names = stdout
      .trimEnd()
      .split("\n")
      .map((line) => Buffer.from(JSON.parse(line).name));
    expect(names.length).toBe(gitText(directory, "ls-tree", "-r", "main").split("\n").length);
    expect(names).toEqual(names.toSorted((a, b) => a.compare(b)));
  });

  it("prints the versions of one file", { tags: "rest/slow" }, () => {
    const directory = smallRepository();
    const blob = gitText(directory, "rev-parse", "HEAD:a");
    const removed = commitFiles(directory, "gone", { a: null, "a/b": "1" });
    commitFiles(directory, "below", { "a/b": "2" });
    const lines = run(["history", "--repo", directory, "--path", "a"]).stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { commit: gitText(directory, "rev-parse", "HEAD~2"), document: { mode: "100644", type: "file", blob } },
      { commit: removed, document: null },
    ]);
  });

  it("creates a repository", () => {
    const directory = join(temporaryDirectory(), "new");
    const { stdout, status } = run(["make", "--repo", directory, "--commits", "20", "--seed", "9"]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ directory, head: gitText(directory, "rev-parse", "HEAD") });
  });

  it("prints its help, with an example", () => {
    const { stdout, status } = run(["--help"]);
    expect(status).toBe(0);
    expect(stdout).toContain("Example:\n  node examples/git-history/dist/src/main.js");
  });

  it("exits quietly when its reader closes the pipe", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({
      directory: temporaryDirectory(),
      commits: 1500,
      files: 3000,
    });
    const child = spawn(process.execPath, [MAIN, "--repo", directory], { stdio: ["ignore", "pipe", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const ended = once(child, "close");
    const lines = createInterface({ input: child.stdout });
    await once(lines, "line");
    lines.close();
    child.stdout.destroy();
    expect(await ended).toEqual([0, null]);
    expect(stderr).toBe("");
  });

  it.each([
    ["a directory without a repository", ["--repo", "/"], /^\/ is not a git repository\./],
    [
      "a missing directory",
      ["--repo", "/does/not/exist"],
      /^The directory \/does\/not\/exist cannot be entered\./,
    ],
    ["an unknown command", ["exprot"], /^"exprot" is not understood here\./],
    ["an extra word", ["expect", "main"], /^"main" is not understood here\./],
    ["an unknown option", ["--reff", "x"], /^Unknown option '--reff'/],
    ["an option of another command", ["expect", "--limit", "3"], /^The option --limit is not for expect\./],
    ["a limit that is not a number", ["--limit", "-1"], /--limit/],
    ["history without a path", ["history"], /^The command history needs --path\./],
    ["make without a directory", ["make"], /^The command make needs --repo\./],
  ])("refuses %s with a message and status 2", (_, args, sentence) => {
    const { stdout, stderr, status } = run(args);
    expect(stderr).toMatch(sentence);
    expect(stderr).not.toMatch(/^ +at /m);
    expect({ stdout, status }).toEqual({ stdout: "", status: 2 });
  });

  it("refuses a ref that names no commit", { tags: "rest/slow" }, () => {
    const directory = smallRepository();
    for (const ref of ["nowhere", "-x", "", "HEAD:a", "main..main", "main^9"]) {
      const { stderr, status } = run([`--ref=${ref}`, "--repo", directory]);
      expect(stderr).toContain(`${ref} names no commit in the repository at ${directory}.`);
      expect(status).toBe(2);
    }
  });

  it("reports that git is not installed", () => {
    const { stderr, status } = run([], { PATH: "/does/not/exist" });
    expect(stderr).toMatch(/^The command git was not found\.\nInstall git/);
    expect(status).toBe(2);
  });

  it("reads the repository in --repo even if GIT_DIR names another one", () => {
    const directory = smallRepository();
    const other = smallRepository();
    commitFiles(other, "other", { o: "1" });
    const { stdout } = run(["--repo", directory], { GIT_DIR: join(other, ".git") });
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
  });
});
