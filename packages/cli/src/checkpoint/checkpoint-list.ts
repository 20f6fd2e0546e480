import { listRetained } from "@cairn/checkpoint";
import type { ListedCheckpoint } from "@cairn/client";
import { LEVEL_FORMAT } from "@cairn/kv";
import { listedCheckpoint, INDEX_VERSION } from "@cairn/engine";
import { formatBytes, formatCount, formatRelative } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import type { Column } from "../terminal/columns.ts";
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
    const columns: Column<ListedCheckpoint>[] = [
      ["NAME", ({ name }) => name],
      ["TX", ({ txId }) => formatCount(txId), "right"],
      ["DOCUMENTS", ({ documents }) => formatCount(documents), "right"],
      ["SIZE", ({ bytes }) => formatBytes(bytes), "right"],
      ["TAKEN", ({ takenAt }) => formatRelative(takenAt, now)],
      ["NODE", ({ node }) => node],
    ];
    if (areOfSeveral) columns.push(["LOG", ({ logId }) => logId]);
    if (anyDamaged) columns.push(["STATE", ({ damaged }) => (damaged === true ? "damaged" : "")]);
    await run.list(checkpoints, columns);
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
