import type { CheckpointListing, RetainedListing, TakeOutcome } from "@cairn/checkpoint";
import type { CheckpointSummary, ListedCheckpoint } from "@cairn/client";
import type { CheckpointResult } from "../api/node-api.ts";

export function checkpointSummary(
  listing: Omit<CheckpointListing, "fileCount" | "verified" | "damaged"> & { readonly damaged?: boolean },
): CheckpointSummary {
  const { name, txId, takenAt, archive, node, log, documents, damaged } = listing;
  const summary = { name, txId, takenAt, bytes: archive.bytes, node, logId: log.id, documents };
  return damaged === true ? { ...summary, damaged: true } : summary;
}

export function listedCheckpoint(listing: RetainedListing): ListedCheckpoint {
  const { durationMs, verification, kept = null } = listing;
  return {
    ...checkpointSummary(listing),
    durationMs,
    verifiedAt: verification?.verifiedAt ?? null,
    verifiedBy: verification?.node ?? null,
    kept,
  };
}

export function checkpointResult(outcome: TakeOutcome): CheckpointResult {
  if (outcome.outcome === "skipped") {
    const { reason: skipped, because, lease = null } = outcome;
    return skipped === "leased" ? { skipped, because, lease } : { skipped };
  }
  const { name, manifest } = outcome.checkpoint;
  return { checkpoint: checkpointSummary({ ...manifest, name }) };
}
