import type { Checkpointer, TakeOutcome } from "@cairn/checkpoint";
import type { CheckpointResult } from "../api/node-api.ts";
import { checkpointSummary } from "../checkpoints/checkpoint-summary.ts";

/** Saves a checkpoint now, as POST /api/v1/checkpoints answers it. */
export function runCheckpoint(checkpointer: Checkpointer): {
  begun: Promise<void>;
  done: Promise<CheckpointResult>;
} {
  const { begun, done } = checkpointer.checkpointNow();
  return { begun, done: done.then(checkpointResult) };
}

function checkpointResult(outcome: TakeOutcome): CheckpointResult {
  if (outcome.outcome === "skipped") {
    const { reason: skipped, because, lease = null } = outcome;
    return skipped === "leased" ? { skipped, because, lease } : { skipped };
  }
  const { name, manifest } = outcome.checkpoint;
  return { checkpoint: checkpointSummary({ ...manifest, name }) };
}
