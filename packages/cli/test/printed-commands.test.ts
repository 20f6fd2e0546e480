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

it("no other code completes a command of a hint", { tags: "rest/slow" }, async () => {
  const folder = path.join(ROOT, "packages");
  const names = (await readdir(folder, { recursive: true })).filter((name) =>
    /^[^/]+\/src\/.*\.ts$/.test(name),
  );
  expect(names.length).toBeGreaterThan(500);
  for (const name of names.filter((one) => !COMPLETING.has(one))) {
    const text = await readFile(path.join(folder, name), "utf8");
    expect([name, /commandLine|cairn [a-z ]+ -f [A-Z]+\b/.exec(text)?.[0]]).toEqual([name, undefined]);
  }
});
