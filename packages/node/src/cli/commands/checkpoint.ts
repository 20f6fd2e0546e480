import type { CheckpointResult, CheckpointSummary } from "../../node-api.ts";
import { formatTable } from "../columns.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions, withNode } from "../command-options.ts";
import { formatBytes, formatCount, formatRelative } from "../quantities.ts";
import { type Terminal, write, writeJson, writeLine } from "../terminal.ts";

/** `cairn checkpoint list` and `cairn checkpoint create`. */
export const addCheckpoint: AddCommand = (parent, terminal) => {
  const group = parent.command("checkpoint").description("Look at checkpoints and make them");

  describeNodeCommand(group.command("list"), "List checkpoints, newest first", [
    "cairn checkpoint list",
  ]).action(async (options: NodeOptions) => {
    const found = (await withNode(terminal, options, (node) =>
      node.json({ path: "/api/v1/checkpoints" }),
    )) as CheckpointSummary[];
    await writeList(terminal, found, options);
  });

  describeNodeCommand(group.command("create"), "Let a node save a checkpoint now, and wait for it", [
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

async function writeList(
  terminal: Terminal,
  found: readonly CheckpointSummary[],
  options: NodeOptions,
): Promise<void> {
  if (options.json === true) {
    return write(terminal.stdout, found.map((checkpoint) => `${JSON.stringify(checkpoint)}\n`).join(""));
  }
  if (found.length === 0) return writeLine(terminal.stderr, "There are none.");
  const now = Date.now();
  const rows = found.map(({ name, txId, documents, bytes, takenAt, node }) => [
    name,
    formatCount(txId),
    formatCount(documents),
    formatBytes(bytes),
    formatRelative(takenAt, now),
    node,
  ]);
  const heading = ["NAME", "TX", "DOCUMENTS", "SIZE", "TAKEN", "NODE"];
  return writeLine(terminal.stdout, formatTable(heading, rows, ["TX", "DOCUMENTS", "SIZE"]));
}
