import { VERSION } from "../../api/version.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../options/command-options.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";

export const addVersion: AddCommand = (parent, terminal) => {
  describeCommand(parent.command("version"), "Print the version of Cairn and, with --json, of Node", [
    "cairn version",
    "cairn version --json",
  ]).action(async ({ json }: OutputOptions) => {
    if (json !== true) return await writeLine(terminal.stdout, VERSION);
    const { version: node, platform, arch } = process;
    return await writeJson(terminal.stdout, { version: VERSION, node: node.slice(1), platform, arch });
  });
};
