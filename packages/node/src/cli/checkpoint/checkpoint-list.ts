import { listRetained } from "@cairn/checkpoint";
import type { ListedCheckpoint, NodeStatus } from "@cairn/client";
import { LEVEL_FORMAT } from "@cairn/kv";
import { listedCheckpoint } from "../../checkpoints/checkpoint-summary.ts";
import { INDEX_VERSION } from "../../index/rows/index-state.ts";
import type { CheckpointPlace } from "../places/checkpoint-place.ts";
import { checkpointSource, withCheckpoints } from "../places/checkpoint-source.ts";
import { formatTable } from "../terminal/columns.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { formatTimeline, showsUnicode } from "./checkpoint-timeline.ts";
import { withNode } from "../options/node-address.ts";
import { formatBytes, formatCount, formatRelative } from "../../text/quantities.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { printable, type Terminal, writeJsonLines, writeLine, tell } from "../terminal/terminal.ts";

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
      ? withNode(terminal, options, (node) => listNode(node, hasTimeline(terminal, options)))
      : withCheckpoints(folder, options, terminal, (place) => listPlace(place, terminal)));
    await writeList(terminal, found, options);
  });
};

/** Checkpoints, newest first, and the period at which their cluster saves them if it is known. */
interface Found {
  readonly checkpoints: readonly ListedCheckpoint[];
  readonly periodMs: number | undefined;
}

function hasTimeline({ stdout }: Terminal, { json }: NodeOptions): boolean {
  return stdout.isTTY === true && json !== true;
}

async function listNode(node: NodeClient, needsPeriod: boolean): Promise<Found> {
  const checkpoints = (await node.json({ path: "/api/v1/checkpoints" })) as ListedCheckpoint[];
  if (!needsPeriod) return { checkpoints, periodMs: undefined };
  const status = (await node.json({ path: "/status" })) as NodeStatus;
  return { checkpoints, periodMs: status.checkpoints.approxFrequencyMs ?? undefined };
}

async function listPlace({ store, name, periodMs }: CheckpointPlace, terminal: Terminal): Promise<Found> {
  const { checkpoints, skipped } = await listRetained({
    store,
    format: { index: INDEX_VERSION, kv: LEVEL_FORMAT },
  });
  for (const one of skipped) {
    await tell(terminal, `skipped ${one.name}: ${one.error.code}: ${printable(one.error.message)}`);
  }
  // Checkpoints are usually skipped for the same reason, whose hint is printed once.
  for (const hint of new Set(skipped.map(({ error }) => error.hint)))
    if (hint !== undefined) await tell(terminal, `hint: ${hint}`);
  const found = checkpoints.filter((one) => name === undefined || one.name === name).map(listedCheckpoint);
  return { checkpoints: found, periodMs: name === undefined ? periodMs : undefined };
}

async function writeList(
  terminal: Terminal,
  { checkpoints: found, periodMs }: Found,
  options: NodeOptions,
): Promise<void> {
  if (options.json === true) return writeJsonLines(terminal.stdout, found);
  if (found.length === 0) return tell(terminal, "None found.");
  const now = Date.now();
  if (periodMs !== undefined && hasTimeline(terminal, options)) {
    const ofOneLog = found.filter(({ logId }) => logId === found[0]?.logId);
    const { columns: width = 80 } = terminal.stdout;
    const unicode = showsUnicode(terminal.env);
    await writeLine(terminal.stdout, `${formatTimeline(ofOneLog, { periodMs, now, width, unicode })}\n`);
  }
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
