import type { CheckpointSummary } from "@cairn/client";
import { CairnError, isCairnError, wait } from "@cairn/kv";
import type { CheckpointResult } from "@cairn/engine";
import { formatBytes, formatRelative, formatTime } from "@cairn/text";
import { command } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { writeJson } from "../terminal/terminal.ts";

/** The pause before a node that is saving a checkpoint is asked again. */
const POLL_MS = 250;

type Skipped = Extract<CheckpointResult, { skipped: string }>;

export const addCheckpointCreate = command({
  syntax: "create",
  description: "Make a node save a checkpoint now and wait for it",
  examples: ["cairn checkpoint create"],
  options: NODE_OPTIONS,
  async act(run) {
    const result = await createdCheckpoint(await openNode(run));
    if (!("skipped" in result))
      return await run.answer(result, `saved ${result.name} (${formatBytes(result.bytes)})`);
    if (result.skipped !== "leased") return await run.answer(result, `skipped: ${SKIPPED[result.skipped]}`);
    if (run.json) await writeJson(run.terminal.stdout, result);
    throw nothingSaved(result, Date.now());
  },
});

/** Has a checkpoint saved, once one that was requested before, and may lack the newest transactions, has been saved. */
async function createdCheckpoint(node: NodeClient): Promise<CheckpointSummary | Skipped> {
  const request = { method: "POST", path: "/api/v1/checkpoints", query: { await: "true" } } as const;
  for (;;) {
    try {
      return await node.json<CheckpointSummary | Skipped>(request);
    } catch (error) {
      if (!isCairnError(error, "CHECKPOINT_RUNNING")) throw error;
    }
    await wait(POLL_MS);
  }
}

const SKIPPED = {
  empty: "the log has no transactions yet, so there is nothing to save",
  unchanged: "nothing has changed since the newest checkpoint",
  recent: "another node has just saved one",
} as const;

/** An error rather than a notice: the checkpoint that is being uploaded may lack the newest transactions. */
function nothingSaved({ because, lease }: Extract<Skipped, { skipped: "leased" }>, now: number): CairnError {
  if (lease === null)
    return new CairnError("CHECKPOINT_RUNNING", because, "Run the command again when that upload has ended.");
  const { owner, since, bytes, expiresAt } = lease;
  const began = since === null ? "" : `, begun at ${formatTime(since)} (${formatRelative(since, now)})`;
  const ends = `ends at ${formatTime(expiresAt)} (${formatRelative(expiresAt, now)})`;
  const message = `Nothing was saved: ${owner} is uploading a checkpoint (${formatBytes(bytes)}${began}).`;
  const hint = `Run the command again when that upload has ended. Its lease ${ends}, unless the upload continues and renews it.`;
  return new CairnError("CHECKPOINT_RUNNING", message, hint);
}
