import type { CheckpointListing } from "@cairn/checkpoint";
import type { CheckpointSummary } from "@cairn/client";

/** A checkpoint as GET /api/v1/checkpoints lists it. */
export function checkpointSummary(
  listing: Omit<CheckpointListing, "fileCount" | "verified">,
): CheckpointSummary {
  const { name, txId, takenAt, archive, node, log, documents } = listing;
  return { name, txId, takenAt, bytes: archive.bytes, node, logId: log.id, documents };
}
