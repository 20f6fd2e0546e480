import { listRetained } from "@cairn/checkpoint";
import type { ListedCheckpoint } from "@cairn/client";
import { LEVEL_FORMAT } from "@cairn/kv";
import { listedCheckpoint } from "../../checkpoints/checkpoint-summary.ts";
import { INDEX_VERSION } from "../../index/rows/index-state.ts";
import type { CheckpointPlace } from "../places/checkpoint-place.ts";
import { checkpointSource, withCheckpoints } from "../places/checkpoint-source.ts";
import { formatTable } from "../terminal/columns.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { formatBytes, formatCount, formatRelative } from "../../text/quantities.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { printable, type Terminal, writeJsonLines, writeLine, tell } from "../terminal/terminal.ts";

/** Adds `cairn checkpoint list`. */
export const addCheckpointList: AddCommand = (parent, terminal) => {
  keyOptions(
    describeNodeCommand(
      parent.command("list [folder]"),
      "List the checkpoints of a node's store, of the configured store without a node (-f), or of a folder, newest first",
      [
        "cairn checkpoint list",
        "cairn checkpoint list -f cairn.edn",
        "cairn checkpoint list ./cairn-data/checkpoints --json",
      ],
    ),
  ).action(async (folder: string | undefined, options: NodeOptions & StoreKeyOptions) => {
    const isInNode = folder === undefined && checkpointSource(folder, options).kind === "node";
    const found = await (isInNode
      ? withNode(terminal, options, (node) => node.json({ path: "/api/v1/checkpoints" }))
      : withCheckpoints(folder, options, terminal, (place) => listPlace(place, terminal)));
    await writeList(terminal, found as ListedCheckpoint[], options);
  });
};

async function listPlace({ store, name }: CheckpointPlace, terminal: Terminal): Promise<ListedCheckpoint[]> {
  const { checkpoints, skipped } = await listRetained({
    store,
    format: { index: INDEX_VERSION, kv: LEVEL_FORMAT },
  });
  for (const one of skipped) {
    await tell(terminal, `skipped ${one.name}: ${one.error.code}: ${printable(one.error.message)}`);
  }
  return checkpoints.filter((one) => name === undefined || one.name === name).map(listedCheckpoint);
}

async function writeList(
  terminal: Terminal,
  found: readonly ListedCheckpoint[],
  options: NodeOptions,
): Promise<void> {
  if (options.json === true) return writeJsonLines(terminal.stdout, found);
  if (found.length === 0) return tell(terminal, "None found.");
  const now = Date.now();
  const anyDamaged = found.some(({ damaged }) => damaged === true);
  const rows = found.map(({ name, txId, documents, bytes, takenAt, node, damaged }) => [
    name,
    formatCount(txId),
    formatCount(documents),
    formatBytes(bytes),
    formatRelative(takenAt, now),
    node,
    ...(anyDamaged ? [damaged === true ? "damaged" : ""] : []),
  ]);
  const heading = ["NAME", "TX", "DOCUMENTS", "SIZE", "TAKEN", "NODE", ...(anyDamaged ? ["STATE"] : [])];
  return writeLine(terminal.stdout, formatTable(heading, rows, ["TX", "DOCUMENTS", "SIZE"], terminal.stdout));
}
