import type { NodeStatus } from "@cairn/client";
import type { NodeEvent } from "./node-event.ts";

/** The last checkpoint that this node saved, or verified, itself: its name, when that ended, how long it took. */
export interface LastWork {
  readonly name: string;
  readonly txId: number;
  readonly bytes: number;
  readonly at: string;
  readonly durationMs: number;
}

/** Remembers a node's last successes, the last scrub among them, and how its last restore drill ended, from its events, also while it joins anew and has no checkpointer. */
export class LastWorks {
  saved: LastWork | null = null;
  verified: (LastWork & { readonly verifiedAt: string }) | null = null;
  scrub: NodeStatus["index"]["lastScrub"] = null;
  drill: NodeStatus["checkpoints"]["lastDrill"] = null;

  note(event: NodeEvent): void {
    if (event.stage === "failed" && event.work === "verification") {
      const { at, durationMs, error } = event;
      const { code, message, hint = null } = error;
      // A node that stops, or joins anew, says nothing of the checkpoint.
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
      const { name, txId, verifiedAt } = event.verified;
      this.verified = { name, txId, bytes, at, durationMs, verifiedAt };
      this.drill = { at, durationMs, outcome: "verified", name, code: null, message: null, hint: null };
    }
  }
}
