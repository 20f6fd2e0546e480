import { Command } from "commander";
import { CONFIGURED_COMMANDS } from "@cairn/text";
import { CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { expect, it } from "vitest";
import { loadCommands } from "../src/commands.ts";

function optionsOf(parent: Command, path = ""): [command: string, options: readonly string[]][] {
  return parent.commands.flatMap((one) => {
    const name = `${path}${one.name()}`;
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
