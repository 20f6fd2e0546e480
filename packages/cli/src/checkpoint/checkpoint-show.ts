import { listCheckpoints } from "@cairn/checkpoint";
import type { CheckpointSummary, NodeStatus } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import {
  formatBytes,
  formatCount,
  formatNumberOf,
  formatRelative,
  formatTime,
  omitUndefined,
} from "@cairn/text";
import { command } from "../options/command.ts";
import { askNode, NODE_OPTIONS } from "../options/node-address.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import {
  CHECKPOINT_LOG,
  checkpointSource,
  chooseCheckpoint,
  chosenLog,
  openCheckpoints,
} from "../places/checkpoint-place.ts";
import { type Field, formatFields } from "../terminal/columns.ts";

export const addCheckpointShow = command({
  syntax: "show [checkpoint]",
  description:
    "Show a checkpoint (default: the newest), given by name in the node's store or, with -f, in the configured store without a node, or by path",
  examples: [
    "cairn checkpoint show ./cairn-data/checkpoints",
    "cairn checkpoint show -f cairn.edn",
    "cairn checkpoint show checkpoint-1000-2026-11-20T06-00-00.000Z-1f3a9c0e",
  ],
  options: { ...NODE_OPTIONS, ...KEY_OPTIONS, log: CHECKPOINT_LOG },
  async act(run, place) {
    const from = checkpointSource(place, run.options);
    const { log: asked } = run.options;
    if (from.kind === "node") {
      const all = await askNode<CheckpointSummary[]>(run, { path: "/api/v1/checkpoints" });
      const isOfSeveral = all.some(({ logId }) => logId !== all[0]?.logId);
      const logId =
        asked ?? (isOfSeveral ? (await askNode<NodeStatus>(run, { path: "/status" })).log.id : null);
      const found = all.find(({ name, logId: of }) =>
        from.name === undefined ? logId === null || of === logId : name === from.name,
      );
      if (found === undefined)
        throw new CairnError(
          "CHECKPOINT_NOT_FOUND",
          `The node's store has no checkpoint${from.name === undefined ? "" : ` ${from.name}`}.`,
          "Choose a checkpoint that cairn checkpoint list prints. To name a file in this folder, write ./checkpoint-…",
        );
      const archive = formatBytes(found.bytes);
      const fields: Field[] = [...commonFields(found, archive, ""), ["Log", found.logId]];
      if (found.damaged === true) fields.push(DAMAGED);
      return await run.answer(found, formatFields(fields));
    }
    const opened = await openCheckpoints(run, place);
    const { store, name } = opened;
    const listed = name === undefined ? await listCheckpoints(store) : undefined;
    const logId = listed && (await chosenLog(opened, listed.checkpoints, asked));
    const newest = listed?.checkpoints.find((one) => one.log.id === logId);
    const isShown = newest?.damaged === true || listed?.skipped.length === 0;
    const found =
      (isShown ? newest : undefined) ?? (await chooseCheckpoint(opened, name, omitUndefined({ logId })));
    const { log, archive, anchor, format } = found;
    const files = `${formatBytes(archive.bytes)}, ${formatNumberOf(found.fileCount, "file")}`;
    const fields: Field[] = [
      ...commonFields(found, files, ` of ${formatTime(found.txTime)}`),
      found.damaged ? DAMAGED : ["Verified", found.verified ? "yes" : "never"],
      ["Log", `${log.name} (id ${log.id})`],
      ["Anchor", `transaction ${formatCount(anchor.txId)}, ${anchor.sha256}`],
      ["Format", `index ${format.index}, ${format.kv}, ${format.archive}, Cairn ${found.version}`],
    ];
    return await run.answer(found, formatFields(fields));
  },
});

const DAMAGED: Field = [
  "Damaged",
  "yes, as found when it was read back; cairn checkpoint verify shows the reason",
];

function commonFields(
  found: Pick<CheckpointSummary, "name" | "txId" | "takenAt" | "node" | "documents">,
  archive: string,
  time: string,
): Field[] {
  const { name, txId, takenAt, node, documents } = found;
  return [
    ["Name", name],
    ["Transaction", `${formatCount(txId)}${time}`],
    ["Taken", `${formatTime(takenAt)}, ${formatRelative(takenAt, Date.now())}, by ${node}`],
    ["Documents", formatCount(documents)],
    ["Archive", archive],
  ];
}
