import type { CheckpointResult, CheckpointSummary } from "../../node-api.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions, withNode } from "../command-options.ts";
import { formatBytes } from "../quantities.ts";
import { writeJson, writeLine } from "../terminal.ts";

/** `cairn checkpoint create`. */
export const addCheckpointCreate: AddCommand = (parent, terminal) => {
  describeNodeCommand(parent.command("create"), "Let a node save a checkpoint now, and wait for it", [
    "cairn checkpoint create",
  ]).action(async (options: NodeOptions) => {
    const result = (await withNode(terminal, options, (node) =>
      node.json({ method: "POST", path: "/api/v1/checkpoints", query: { await: "true" } }),
    )) as CheckpointSummary | Extract<CheckpointResult, { skipped: string }>;
    if (options.json === true) return writeJson(terminal.stdout, result);
    if ("skipped" in result) return writeLine(terminal.stdout, `skipped: ${SKIPPED[result.skipped]}`);
    return writeLine(terminal.stdout, `saved ${result.name} (${formatBytes(result.bytes)})`);
  });
};

const SKIPPED = {
  unchanged: "nothing changed since the newest checkpoint",
  recent: "another node has just saved one",
  leased: "another node is saving one now",
} as const;
