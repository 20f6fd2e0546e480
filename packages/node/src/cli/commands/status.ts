import type { NodeStatus } from "../../node-api.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions, withNode } from "../command-options.ts";
import { formatStatus } from "../status-screen.ts";
import { writeJson, writeLine } from "../terminal.ts";

/** `cairn status`. */
export const addStatus: AddCommand = (parent, terminal) => {
  describeNodeCommand(parent.command("status"), "Show what a node is doing", [
    "cairn status",
    "cairn status --json --url http://10.0.0.7:3000",
  ]).action(async (options: NodeOptions) => {
    const status = await withNode(terminal, options, (node) => node.json({ path: "/status" }));
    if (options.json === true) return writeJson(terminal.stdout, status);
    const screen = formatStatus(status as NodeStatus, {
      now: Date.now(),
      colors: terminal.stdout.isTTY === true && terminal.env["NO_COLOR"] === undefined,
    });
    return writeLine(terminal.stdout, screen);
  });
};
