import { listRetained } from "@cairn/checkpoint";
import type { ListedCheckpoint, NodeStatus } from "@cairn/client";
import { LEVEL_FORMAT } from "@cairn/kv";
import { listedCheckpoint, INDEX_VERSION } from "@cairn/engine";
import { formatBytes, formatCount, formatRelative } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { type CheckpointPlace, checkpointSource, openCheckpoints } from "../places/checkpoint-place.ts";
import { printable } from "../terminal/terminal.ts";
import { formatTimeline, showsUnicode } from "./checkpoint-timeline.ts";

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
    const { stdout, env } = run.terminal;
    const hasTimeline = stdout.isTTY === true && !run.json;
    let checkpoints: readonly ListedCheckpoint[];
    /** The period at which their cluster saves them, if it is known. */
    let periodMs: number | undefined;
    if (folder === undefined && checkpointSource(folder, run.options).kind === "node") {
      const node = await openNode(run);
      checkpoints = await node.json<ListedCheckpoint[]>({ path: "/api/v1/checkpoints" });
      if (hasTimeline) {
        const status = await node.json<NodeStatus>({ path: "/status" });
        periodMs = status.checkpoints.approxFrequencyMs ?? undefined;
      }
    } else {
      const place = await openCheckpoints(run, folder);
      if (place.name === undefined) periodMs = place.system?.checkpointer?.approxFrequency;
      checkpoints = await listPlace(run, place);
    }
    const now = Date.now();
    if (periodMs !== undefined && hasTimeline && checkpoints.length > 0) {
      const ofOneLog = checkpoints.filter(({ logId }) => logId === checkpoints[0]?.logId);
      const options = { periodMs, now, width: stdout.columns ?? 80, unicode: showsUnicode(env) };
      await run.line(`${formatTimeline(ofOneLog, options)}\n`);
    }
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
  for (const one of skipped)
    await run.tell(`skipped ${one.name}: ${one.error.code}: ${printable(one.error.message)}`);
  // Checkpoints are usually skipped for the same reason, whose hint is printed once.
  for (const hint of new Set(skipped.map(({ error }) => error.hint)))
    if (hint !== undefined) await run.tell(`hint: ${hint}`);
  return checkpoints.filter((one) => name === undefined || one.name === name).map(listedCheckpoint);
}
