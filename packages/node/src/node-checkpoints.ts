import type {
  Checkpointer,
  CheckpointerStatus,
  CheckpointListing,
  CheckpointStore,
  TakeOutcome,
} from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { isoTime } from "./index-store/row-values.ts";
import type { CheckpointResult, CheckpointSummary, NodeStatus } from "./node-api.ts";
import type { System } from "./system/system.ts";

/** The checkpoints part of /status while no checkpointer runs. */
export const NO_CHECKPOINTS: NodeStatus["checkpoints"] = {
  last: null,
  lastVerified: null,
  nextCheckAt: null,
  running: null,
  warnings: [],
  lastFailure: null,
};

/** The checkpoints part of /status. */
export function statusOfCheckpoints(
  status: CheckpointerStatus,
  lastVerified: NodeStatus["checkpoints"]["lastVerified"],
): NodeStatus["checkpoints"] {
  const { last, nextCheckAt, running, warnings, lastFailure } = status;
  return {
    last,
    lastVerified,
    nextCheckAt: nextCheckAt === null ? null : isoTime(nextCheckAt),
    running: running === null ? null : { ...running, startedAt: isoTime(running.startedAt) },
    warnings: warnings.map((warning) => ({ ...warning, at: isoTime(warning.at) })),
    lastFailure: lastFailure === null ? null : { ...lastFailure, at: isoTime(lastFailure.at) },
  };
}

/** A checkpoint as GET /api/v1/checkpoints lists it. */
export function checkpointSummary(
  listing: Omit<CheckpointListing, "fileCount" | "verified">,
): CheckpointSummary {
  const { name, txId, takenAt, archive, node, log, documents } = listing;
  return { name, txId, takenAt, bytes: archive.bytes, node, logId: log.id, documents };
}

/** Where a node saves checkpoints; `NOT_FOUND` when it saves none. */
export function storeOf({ checkpointer }: System): CheckpointStore {
  if (checkpointer !== undefined) return checkpointer.store;
  throw new CairnError("NOT_FOUND", "This node has no checkpointer.", {
    hint: 'Configure "checkpointer" under cairn/index-store > kv-store; docs/configuration.md shows how.',
  });
}

/** Saves a checkpoint now, as POST /api/v1/checkpoints answers it. */
export function runCheckpoint(checkpointer: Checkpointer): {
  begun: Promise<void>;
  done: Promise<CheckpointResult>;
} {
  const { begun, done } = checkpointer.checkpointNow();
  return { begun, done: done.then(checkpointResult) };
}

function checkpointResult(outcome: TakeOutcome): CheckpointResult {
  if (outcome.outcome === "skipped") return { skipped: outcome.reason };
  const { name, manifest } = outcome.checkpoint;
  return { checkpoint: checkpointSummary({ ...manifest, name }) };
}
