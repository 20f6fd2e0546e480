import type { NodeStatus } from "@cairn/client";
import type { NodeEvent } from "./node-event.ts";

/** Unlike the checkpointer, this object is kept when the node joins again. */
export class LastResults {
  saved: NodeStatus["checkpoints"]["lastSaved"] = null;
  /** The verification that this node itself performed last. */
  verified: { readonly verifiedAt: string; readonly durationMs: number } | null = null;
  scrub: NodeStatus["index"]["lastScrub"] = null;
  drill: NodeStatus["checkpoints"]["lastDrill"] = null;

  note(event: NodeEvent): void {
    if (event.stage === "failed" && event.work === "verification") {
      const { at, durationMs, error } = event;
      const { code, message, hint = null } = error;
      // `NOT_READY` means that the node stopped or joined again, which has nothing to do with the checkpoint.
      if (code !== "NOT_READY")
        this.drill = { at, durationMs, outcome: "failed", name: null, code, message, hint };
    }
    if (event.stage !== "ended") return;
    const { at, bytes, durationMs } = event;
    if (event.work === "scrub") this.scrub = { at, durationMs, bytes };
    else if (event.work === "checkpoint" && event.outcome === "saved") {
      const { name, txId } = event.checkpoint;
      this.saved = { name, txId, bytes, at, durationMs };
    } else if (event.work === "verification") {
      const { name, verifiedAt } = event.verified;
      this.verified = { verifiedAt, durationMs };
      this.drill = { at, durationMs, outcome: "verified", name, code: null, message: null, hint: null };
    }
  }
}
