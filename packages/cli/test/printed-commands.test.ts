import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { Command } from "commander";
import { CONFIGURED_COMMANDS } from "@cairn/text";
import { CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ROOT } from "@cairn/test-support/cairn-process";
import { expect, it } from "vitest";
import { loadCommands } from "../src/run-cli.ts";

function optionsOf(parent: Command, group = ""): [command: string, options: readonly string[]][] {
  return parent.commands.flatMap((one) => {
    const name = `${group}${one.name()}`;
    const own: [string, readonly string[]] = [name, one.options.map(({ long = "" }) => long ?? "")];
    return one.commands.length === 0 ? [own] : optionsOf(one, `${name} `);
  });
}

it("hints complete every command that a configuration or an address can tell where it works", async () => {
  const program = new Command("cairn");
  for (const add of await loadCommands()) add(program, new CapturedTerminal({}));
  const configured = optionsOf(program).filter(
    ([name, options]) => options.includes("--file") && name !== "start",
  );
  const names = (asking: boolean): string[] =>
    configured.filter(([, options]) => options.includes("--url") === asking).map(([name]) => name);
  expect(names(false).toSorted()).toEqual(CONFIGURED_COMMANDS.alone.toSorted());
  expect(names(true).toSorted()).toEqual(CONFIGURED_COMMANDS.asking.toSorted());
});

/** Where hints leave a node or a command, and what completes them there. */
const COMPLETING = new Set([
  "cli/src/options/command.ts",
  "cli/src/places/configured-system.ts",
  "config/src/create-system.ts",
  "engine/src/api/system.ts",
  "engine/src/node/node-reads.ts",
  "engine/src/node/node.ts",
  "engine/src/node/open-checkpoint.ts",
  "text/src/printed-commands.ts",
]);

/** Returns the files below these folders of the repository with this ending, by their paths in it. */
async function filesIn(folders: readonly string[], ending: string): Promise<string[]> {
  const found = folders.map(async (folder) => {
    const names = await readdir(path.join(ROOT, folder), { recursive: true });
    return names.filter((name) => name.endsWith(ending)).map((name) => path.join(folder, name));
  });
  return (await Promise.all(found)).flat();
}

async function sources(): Promise<string[]> {
  const packages = await readdir(path.join(ROOT, "packages"));
  return await filesIn(
    packages.map((name) => path.join("packages", name, "src")),
    ".ts",
  );
}

it("no other code completes a command of a hint", async () => {
  const names = (await sources()).map((name) => name.replace(/^packages\//, ""));
  expect(names.length).toBeGreaterThan(500);
  for (const name of names.filter((one) => !COMPLETING.has(one))) {
    const text = await readFile(path.join(ROOT, "packages", name), "utf8");
    expect([name, /commandLine|cairn [a-z ]+ -f [A-Z]+\b/.exec(text)?.[0]]).toEqual([name, undefined]);
  }
});

/** The options that a text gives to a command: those that follow its name, up to the first other word. */
function optionsGiven(rest: string): string[] {
  const found: string[] = [];
  let mayBeValue = false;
  for (const word of rest.split(/\s+/)) {
    const [, option] = /^\[?(--[a-z][a-z0-9-]*)/.exec(word) ?? [];
    if (option !== undefined) found.push(option);
    else if (!mayBeValue && !/^[A-Z$<'"./@|{-]|[:/=.]/.test(word)) break;
    if (/[.;`)]$/.test(word)) break;
    mayBeValue = option !== undefined;
  }
  return found;
}

it("every command that sources and pages name has the options that they give it", async () => {
  const program = new Command("cairn");
  for (const add of await loadCommands()) add(program, new CapturedTerminal({}));
  const commands = new Map(optionsOf(program));
  const names = [...commands.keys()].toSorted((a, b) => b.length - a.length);
  const files = [...(await sources()), ...(await filesIn(["docs"], ".md")), "README.md"];
  const wrong: string[] = [];
  let checked = 0;
  for (const file of files) {
    const text = await readFile(path.join(ROOT, file), "utf8");
    for (const { 1: rest = "" } of text.matchAll(/\bcairn ([a-z][^\n]*)/g)) {
      const name = names.find((one) => rest === one || new RegExp(`^${one}[^\\w-]`).test(rest));
      if (name === undefined) continue;
      for (const option of optionsGiven(rest.slice(name.length).trimStart())) {
        checked += 1;
        if (![...(commands.get(name) ?? []), "--help", "--debug", "--color", "--no-color"].includes(option))
          wrong.push(`${file}: cairn ${name} ${option}`);
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(checked).toBeGreaterThan(150);
});

/** A command, with the arguments that end a sentence: whoever copies it would get the full stop as a part of them. */
const ARGUMENT = String.raw` (?:>|--?[a-z][\w-]*(?:=\S+?)?|[A-Z][A-Z0-9]*|\$\{[^}]*\})`;
const OTHER = `(?:nats (?:stream|server) [a-z]+|systemctl [a-z]+ [a-z]+|kill)(?:${ARGUMENT})*`;

it("no text glues a full stop to a command, unless it ends with one that is completed", async () => {
  const words = [...CONFIGURED_COMMANDS.alone, ...CONFIGURED_COMMANDS.asking, "start", "log recover"];
  const own = `\\bcairn (?:${words.join("|")})(?:${ARGUMENT})*`;
  const glued = new RegExp(
    [`${own}\\. [A-Z]`, `${own} \\$\\{[^}]*\\}\\.(?=[\\s"\`])`, `\\b${OTHER}\\.(?=[\\s"\`])`].join("|"),
    "g",
  );
  expect("See cairn log status. Then".match(glued)).toHaveLength(1);
  expect("`nats stream edit ${stream} --max-age=0s.`".match(glued)).toHaveLength(1);
  for (const name of await sources()) {
    const text = await readFile(path.join(ROOT, name), "utf8");
    const lines = text.split("\n").filter((line) => !/^\s*(?:\/?\*|\/\/)/.test(line));
    expect([name, lines.join("\n").match(glued)]).toEqual([name, null]);
  }
});

it("no text names a command for what it shows: completed, the command would be a part of the sentence", async () => {
  const purpose = new RegExp(
    `(?:\\bFor|\\band for) cairn (?:${[...CONFIGURED_COMMANDS.alone, ...CONFIGURED_COMMANDS.asking].join("|")})`,
  );
  expect("For cairn status --cluster, permit more.").toMatch(purpose);
  for (const name of await sources()) {
    const text = await readFile(path.join(ROOT, name), "utf8");
    expect([name, purpose.exec(text)?.[0]]).toEqual([name, undefined]);
  }
});
