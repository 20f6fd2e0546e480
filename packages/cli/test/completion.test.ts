import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadCommands } from "../src/run-cli.ts";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

async function script(shell: string): Promise<string> {
  const { code, stdout } = await cairn(["completion", shell]);
  expect(code).toBe(0);
  return stdout;
}

/** Returns what bash offers for the last of `words`. */
async function offered(words: readonly string[]): Promise<string[]> {
  const ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cairn; printf "%s\\n" "${COMPREPLY[@]}"';
  const args = ["--norc", "-c", `${await script("bash")}\n${ask}`, "bash", "cairn", ...words];
  const { stdout } = await promisify(execFile)("bash", args);
  return stdout.split("\n").filter((word) => word !== "");
}

function everyCommand(command: Command, at: readonly string[] = []): [string[], Command][] {
  const inner = command.commands.flatMap((one) => everyCommand(one, [...at, one.name()]));
  return [[[...at], command], ...inner];
}

describe("the completion of bash", () => {
  it(
    "offers the commands of each group, and every option of each command",
    { tags: "rest/slow" },
    async () => {
      const program = new Command("cairn").helpCommand(false);
      for (const add of await loadCommands()) add(program, new CapturedTerminal());
      const all = everyCommand(program);
      expect(all.length).toBeGreaterThan(40);
      const source = await script("bash");
      // One process answers for all commands.
      const asks = all.flatMap(([words]) => [
        `ask cairn ${words.join(" ")} ''`,
        `ask cairn ${words.join(" ")} --`,
      ]);
      const ask = 'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cairn; echo "${COMPREPLY[*]}"; }';
      const { stdout } = await promisify(execFile)("bash", [
        "--norc",
        "-c",
        [source, ask, ...asks].join("\n"),
      ]);
      const lines = stdout.split("\n").map((line) => line.split(" "));
      for (const [at, [words, command]] of all.entries()) {
        const names = command.commands.map((one) => one.name());
        if (names.length > 0) expect(lines[2 * at]).toEqual(names);
        const options = command.options.map(({ long }) => long);
        const shown = { words, options: lines[2 * at + 1] };
        expect(shown).toEqual({ words, options: expect.arrayContaining([...options, "--help"]) });
      }
    },
  );

  it("continues the word that was begun, after options and their values", async () => {
    expect(await offered(["che"])).toEqual(["checkpoint"]);
    expect(await offered(["log", "backup", "v"])).toEqual(["verify"]);
    expect(await offered(["status", "--url", "http://a", "--ex"])).toEqual(["--expect"]);
  });

  it("offers the values of an option and of an argument, and otherwise leaves files to bash", async () => {
    expect(await offered(["start", "--log-level", "de"])).toEqual(["debug"]);
    expect(await offered(["completion", ""])).toEqual(["bash", "zsh", "fish"]);
    expect(await offered(["start", "-f", ""])).toEqual([]);
    expect(await offered(["load", ""])).toEqual([]);
    expect(await script("bash")).toContain("complete -o default -F _cairn cairn");
  });
});

describe("the completion of another shell", () => {
  it.each(["zsh", "fish"])("is a script that %s can parse, if it is installed", async (shell) => {
    const text = await script(shell);
    for (const part of ["checkpoint", "backup", "log-level"]) expect(text).toContain(part);
    if (shell === "fish") expect(text).toContain("Show the status of a node");
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-completion-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = path.join(folder, "script");
    await writeFile(file, text);
    const { status, error, stderr } = spawnSync(shell, ["-n", file], { encoding: "utf8" });
    if (error === undefined) expect([status, stderr]).toEqual([0, ""]);
    else process.stderr.write(`${shell} is not installed, so it has not parsed its script.\n`);
  });

  it("is refused if there is none, and the shells are named", async () => {
    const { code, stderr } = await cairn(["completion", "tcsh"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("bash, zsh, fish")]);
  });
});

describe("the version", () => {
  it("is printed for people and for programs", async () => {
    expect(await cairn(["version"])).toEqual(await cairn(["--version"]));
    const { stdout } = await cairn(["version", "--json"]);
    expect(JSON.parse(stdout)).toEqual({
      version: (await cairn(["version"])).stdout.trim(),
      node: process.versions.node,
      platform: process.platform,
      arch: process.arch,
    });
  });
});
