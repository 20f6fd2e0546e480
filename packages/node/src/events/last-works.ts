import type { NodeEvent } from "./node-event.ts";

/** The last checkpoint that this node saved, or verified, itself: its name, when that ended, how long it took. */
export interface LastWork {
  readonly name: string;
  readonly txId: number;
  readonly bytes: number;
  readonly at: string;
  readonly durationMs: number;
}

/** Remembers a node's last successes from its events, also while it joins anew and has no checkpointer. */
export class LastWorks {
  saved: LastWork | null = null;
  verified: (LastWork & { readonly verifiedAt: string }) | null = null;

  note(event: NodeEvent): void {
    if (event.stage !== "ended") return;
    const { at, bytes, durationMs } = event;
    if (event.work === "checkpoint" && event.outcome === "saved") {
      const { name, txId } = event.checkpoint;
      this.saved = { name, txId, bytes, at, durationMs };
    } else if (event.work === "verification") {
      const { name, txId, verifiedAt } = event.verified;
      this.verified = { name, txId, bytes, at, durationMs, verifiedAt };
    }
  }
}
