import { VERSION } from "@cairn/text";
import { command } from "../options/command.ts";

export const addVersion = command({
  syntax: "version",
  description: "Print the version of Cairn and, with --json, of Node",
  examples: ["cairn version", "cairn version --json"],
  options: {},
  async act(run) {
    const { version: node, platform, arch } = process;
    await run.answer({ version: VERSION, node: node.slice(1), platform, arch }, VERSION);
  },
});
