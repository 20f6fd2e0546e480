import type { CheckpointSummary } from "@cairn/client";
import { CairnError, isCairnError, wait } from "@cairn/kv";
import { type CheckpointResult, logWithBackup, rebuildCheckpoint, restoreStores } from "@cairn/engine";
import { formatBytes, formatCount, formatNumberOf, formatRelative, formatTime } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { flag } from "../options/option-specs.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { writeJson, printable } from "../terminal/terminal.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import { openLog, requireIdentity } from "../places/configured-system.ts";

/** The pause before a node that is saving a checkpoint is asked again. */
const POLL_MS = 250;

type Skipped = Extract<CheckpointResult, { skipped: string }>;

export const addCheckpointCreate = command({
  syntax: "create",
  description:
    "Make a node save a checkpoint now and wait for it; with --rebuild, build one from the log without a node",
  examples: ["cairn checkpoint create", "cairn checkpoint create --rebuild -f cairn.edn"],
  options: {
    ...NODE_OPTIONS,
    rebuild: flag("build an index of this version from the configured log and save it"),
  },
  async act(run) {
    if (run.options.rebuild) {
      const made = await rebuildConfigured(run);
      if ("skipped" in made) return await run.answer(made, `skipped: ${made.because}`);
      const { checkpoint, log, resumedAt } = made;
      const resumed = resumedAt === 0 ? "" : `, resumed after transaction ${formatCount(resumedAt)}`;
      const what = `${formatNumberOf(checkpoint.txId, "transaction")} of the log ${log}${resumed}`;
      const saved = `${checkpoint.name} (${formatBytes(checkpoint.bytes)})`;
      return await run.answer(made, `rebuilt ${what}; saved ${saved}`);
    }
    const result = await createdCheckpoint(await openNode(run));
    if (!("skipped" in result))
      return await run.answer(result, `saved ${result.name} (${formatBytes(result.bytes)})`);
    if (result.skipped !== "leased") return await run.answer(result, `skipped: ${SKIPPED[result.skipped]}`);
    if (run.json) await writeJson(run.terminal.stdout, result);
    throw nothingSaved(result, Date.now());
  },
});

/** Has a checkpoint saved. If the node is already saving one, which may lack the newest transactions, waits for it. */
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

/** Saves a checkpoint of this version, built from the log, unless the store has one of the whole log. Nodes may run. */
async function rebuildConfigured(
  run: CommandRun<ConfigurationOptions>,
): ReturnType<typeof rebuildCheckpoint> {
  const signal = run.interruptible(
    "nothing was saved",
    "Run the same command again to continue: the index built so far remains in the node's dir under rebuild/.",
  );
  const { log: opened, system } = await openLog(run);
  const { checkpointer } = system;
  if (checkpointer === undefined) {
    throw new UsageError(
      "The configuration has no checkpointer, so there is no store in which to save a checkpoint.",
      "Configure a checkpointer as docs/configuration.md describes.",
    );
  }
  const log = logWithBackup(opened, restoreStores(system));
  const identity = await requireIdentity(log, system);
  const { stderr } = run.terminal;
  const { update, stop } = run.lateProgress("rebuilding", formatCount);
  return await rebuildCheckpoint({
    log,
    identity,
    system: { ...system, checkpointer },
    node: run.node,
    signal,
    onProgress: (done, total) => update(done, total, `transactions of ${log.name}`),
    onLogState: ({ reachable, error }) => {
      if (!reachable) stderr.write(`${error?.message ?? "The log cannot be reached."} Retrying.\n`);
    },
    onBuilt: stop,
    onWaiting: (because) => stderr.write(`${printable(because)} Waiting until it ends.\n`),
  }).finally(stop);
}
