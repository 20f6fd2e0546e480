import { setTimeout as delay } from "node:timers/promises";
import { CairnError, isCairnError } from "@cairn/kv";
import { isUnreadable } from "@cairn/checkpoint";
import type { CheckpointSummary } from "@cairn/client";
import type { CheckpointResult } from "../../api/node-api.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import {
  formatBytes,
  formatCount,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "../../text/quantities.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";
import { rebuildCheckpoint } from "./checkpoint-rebuild.ts";

/** The pause before a node that is saving a checkpoint is asked again. */
const POLL_MS = 250;

interface CreateOptions extends NodeOptions {
  readonly rebuild?: boolean;
}

type Created = CheckpointSummary | Extract<CheckpointResult, { skipped: string }>;
type Leased = Extract<CheckpointResult, { skipped: "leased" }>;

export const addCheckpointCreate: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("create"),
    "Make a node save a checkpoint now and wait for it; with --rebuild, build one from the log without a node",
    ["cairn checkpoint create", "cairn checkpoint create --rebuild -f cairn.edn"],
  )
    .option("--rebuild", "build an index of this version from the configured log and save it")
    .action(async (options: CreateOptions) => {
      if (options.rebuild === true) {
        const made = await rebuildCheckpoint(options, terminal);
        if (options.json === true) return writeJson(terminal.stdout, made);
        if ("skipped" in made) return writeLine(terminal.stdout, `skipped: ${made.because}`);
        const { checkpoint, log, resumedAt } = made;
        const resumed = resumedAt === 0 ? "" : `, resumed after transaction ${formatCount(resumedAt)}`;
        const what = `${formatNumberOf(checkpoint.txId, "transaction")} of the log ${log}${resumed}`;
        return writeLine(
          terminal.stdout,
          `rebuilt ${what}; saved ${checkpoint.name} (${formatBytes(checkpoint.bytes)})`,
        );
      }
      const result = await withNode(terminal, options, createdCheckpoint);
      if (options.json === true) await writeJson(terminal.stdout, result);
      if ("skipped" in result && result.skipped === "leased") throw nothingSaved(result, Date.now());
      if (options.json === true) return;
      if ("skipped" in result) return writeLine(terminal.stdout, `skipped: ${SKIPPED[result.skipped]}`);
      return writeLine(terminal.stdout, `saved ${result.name} (${formatBytes(result.bytes)})`);
    });
};

/** Has a checkpoint saved. If the node is already saving one, which may lack the newest transactions, waits for it. */
async function createdCheckpoint(node: NodeClient): Promise<Created> {
  const request = { method: "POST", path: "/api/v1/checkpoints", query: { await: "true" } } as const;
  for (;;) {
    try {
      return (await node.json(request)) as Created;
    } catch (error) {
      if (!isCairnError(error, "CHECKPOINT_RUNNING")) throw error;
    }
    await delay(POLL_MS);
  }
}

const SKIPPED = {
  empty: "the log has no transactions yet, so there is nothing to save",
  unchanged: "nothing has changed since the newest checkpoint",
  recent: "another node has just saved one",
  "short-tail":
    "replaying the transactions after the newest checkpoint would take less time than replay-budget allows",
} as const;

/** An error rather than a notice: the checkpoint that is being uploaded may lack the newest transactions. */
function nothingSaved({ because, lease }: Leased, now: number): CairnError {
  if (lease === null) {
    return new CairnError("CHECKPOINT_RUNNING", because, {
      hint: "Run the command again when that upload has ended.",
    });
  }
  const { owner, since, bytes, expiresAt, leftBehind } = lease;
  const began = since === null ? "" : `, begun at ${formatTime(since)} (${formatRelative(since, now)})`;
  const amount = `${formatBytes(bytes)}${began}`;
  const ends = `ends at ${formatTime(expiresAt)} (${formatRelative(expiresAt, now)})`;
  if (isUnreadable(lease)) {
    return new CairnError("CHECKPOINT_RUNNING", `Nothing was saved: ${because}`, {
      hint: `Run the command again when the lease has ended: it ${ends}.`,
    });
  }
  return leftBehind
    ? new CairnError(
        "CHECKPOINT_RUNNING",
        `Nothing was saved: an earlier process of this node, ${owner}, was uploading a checkpoint (${amount}) and its lease has not expired.`,
        {
          hint: `Run the command again when the lease has expired: it ${ends}, and has not been renewed since this process started.`,
        },
      )
    : new CairnError(
        "CHECKPOINT_RUNNING",
        `Nothing was saved: ${owner} is uploading a checkpoint (${amount}).`,
        {
          hint: `Run the command again when that upload has ended. Its lease ${ends}, unless the upload continues and renews it.`,
        },
      );
}
