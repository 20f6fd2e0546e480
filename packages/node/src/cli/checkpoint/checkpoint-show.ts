import type { CheckpointListing } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { CheckpointSummary } from "@cairn/client";
import { findCheckpoint } from "../places/checkpoint-place.ts";
import { checkpointSource, withCheckpoints } from "../places/checkpoint-source.ts";
import { formatFields } from "../terminal/columns.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import type { NodeClient } from "../requests/node-client.ts";
import {
  formatBytes,
  formatCount,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "../../text/quantities.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { printableLines, writeJson, writeLine } from "../terminal/terminal.ts";

export const addCheckpointShow: AddCommand = (parent, terminal) => {
  keyOptions(
    describeNodeCommand(
      parent.command("show [checkpoint]"),
      "Show a checkpoint (default: the newest), given by name in the node's store or, with -f, in the configured store without a node, or by path",
      [
        "cairn checkpoint show ./cairn-data/checkpoints",
        "cairn checkpoint show -f cairn.edn",
        "cairn checkpoint show checkpoint-1000-2026-11-20T06-00-00.000Z-1f3a9c0e",
      ],
    ),
  ).action(async (place: string | undefined, options: NodeOptions & StoreKeyOptions) => {
    const from = checkpointSource(place, options);
    if (from.kind === "node") {
      const found = await withNode(terminal, options, (node) => findInNode(node, from.name));
      if (options.json === true) return writeJson(terminal.stdout, found);
      return writeLine(terminal.stdout, printableLines(formatFields(summaryFields(found))));
    }
    const found = await withCheckpoints(place, options, terminal, ({ store, name }) =>
      findCheckpoint(store, name),
    );
    if (options.json === true) return writeJson(terminal.stdout, found);
    return writeLine(terminal.stdout, printableLines(formatFields(listingFields(found))));
  });
};

/** Returns the named checkpoint or, without a name, the newest one. */
async function findInNode(node: NodeClient, name: string | undefined): Promise<CheckpointSummary> {
  const all = (await node.json({ path: "/api/v1/checkpoints" })) as CheckpointSummary[];
  const found = name === undefined ? all[0] : all.find((checkpoint) => checkpoint.name === name);
  if (found !== undefined) return found;
  throw new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `The node's store has no checkpoint${name === undefined ? "" : ` ${name}`}.`,
    {
      hint: "Choose a checkpoint that cairn checkpoint list prints. To name a file in this folder, write ./checkpoint-…",
    },
  );
}

type Fields = (readonly [name: string, value: string])[];

const DAMAGED: Fields[number] = [
  "Damaged",
  "yes, as found when it was read back; cairn checkpoint verify shows the reason",
];

function summaryFields(found: CheckpointSummary): Fields {
  return [
    ["Name", found.name],
    ["Transaction", formatCount(found.txId)],
    ["Taken", `${formatTime(found.takenAt)}, ${formatRelative(found.takenAt, Date.now())}, by ${found.node}`],
    ["Documents", formatCount(found.documents)],
    ["Archive", formatBytes(found.bytes)],
    ["Log", found.logId],
    ...(found.damaged === true ? [DAMAGED] : []),
  ];
}

function listingFields(found: CheckpointListing): Fields {
  const { log, archive, format } = found;
  return [
    ["Name", found.name],
    ["Transaction", `${formatCount(found.txId)} of ${formatTime(found.txTime)}`],
    ["Taken", `${formatTime(found.takenAt)}, ${formatRelative(found.takenAt, Date.now())}, by ${found.node}`],
    ["Documents", formatCount(found.documents)],
    ["Archive", `${formatBytes(archive.bytes)}, ${formatNumberOf(found.fileCount, "file")}`],
    found.damaged ? DAMAGED : ["Verified", found.verified ? "yes" : "never"],
    ["Log", `${log.name} (id ${log.id})`],
    ["Anchor", `transaction ${formatCount(found.anchor.txId)}, ${found.anchor.sha256}`],
    ["Format", `index ${format.index}, ${format.kv}, ${format.archive}, Cairn ${found.version}`],
  ];
}
