import { listRetained } from "@cairn/checkpoint";
import type { ListedCheckpoint } from "@cairn/client";
import { LEVEL_FORMAT } from "@cairn/kv";
import { listedCheckpoint, INDEX_VERSION } from "@cairn/engine";
import { formatBytes, formatCount, formatRelative } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { type CheckpointPlace, checkpointSource, openCheckpoints } from "../places/checkpoint-place.ts";

export const addCheckpointList = command({
  syntax: "list [folder]",
  description:
    "List the checkpoints of a node's store, of the configured store without a node (-f), or of a folder, newest first",
  examples: [
    "cairn checkpoint list",
    "cairn checkpoint list -f cairn.edn",
    "cairn checkpoint list ./cairn-data/checkpoints --json",
  ],
  options: { ...NODE_OPTIONS, ...KEY_OPTIONS },
  async act(run, folder) {
    const checkpoints =
      folder === undefined && checkpointSource(folder, run.options).kind === "node"
        ? await (await openNode(run)).json<ListedCheckpoint[]>({ path: "/api/v1/checkpoints" })
        : await listPlace(run, await openCheckpoints(run, folder));
    const now = Date.now();
    const anyDamaged = checkpoints.some(({ damaged }) => damaged === true);
    const areOfSeveral = checkpoints.some(({ logId }) => logId !== checkpoints[0]?.logId);
    await run.list(
      checkpoints,
      [
        "NAME",
        "TX",
        "DOCUMENTS",
        "SIZE",
        "TAKEN",
        "NODE",
        ...(areOfSeveral ? ["LOG"] : []),
        ...(anyDamaged ? ["STATE"] : []),
      ],
      ({ name, txId, documents, bytes, takenAt, node, damaged, logId }) => [
        name,
        formatCount(txId),
        formatCount(documents),
        formatBytes(bytes),
        formatRelative(takenAt, now),
        node,
        ...(areOfSeveral ? [logId] : []),
        ...(anyDamaged ? [damaged === true ? "damaged" : ""] : []),
      ],
      ["TX", "DOCUMENTS", "SIZE"],
    );
  },
});

async function listPlace(run: CommandRun, { store, name }: CheckpointPlace): Promise<ListedCheckpoint[]> {
  const format = { index: INDEX_VERSION, kv: LEVEL_FORMAT };
  const { checkpoints, skipped } = await listRetained({ store, format });
  for (const one of skipped) run.passOver(one.name, one.error);
  // Checkpoints are usually skipped for the same reason, whose hint is printed once.
  for (const hint of new Set(skipped.map(({ error }) => error.hint)))
    if (hint !== undefined) await run.tell(`hint: ${hint}`);
  return checkpoints.filter((one) => name === undefined || one.name === name).map(listedCheckpoint);
}
