import type { CairnError } from "@cairn/kv";
import type { CheckpointSummary, NodeStatus, TxId, VerifiedSummary } from "@cairn/client";

/** Work of a node that begins and ends, and that can fail. */
export type Work = keyof WorkResults;

/** What each work came to when it ended well; `outcome` is one of a fixed few words. */
export interface WorkResults {
  /** A round of the checkpointer: it saved one, or says why it did not. */
  readonly checkpoint:
    | { readonly outcome: "saved"; readonly checkpoint: CheckpointSummary }
    | { readonly outcome: "empty" | "unchanged" | "recent" | "leased"; readonly because: string };
  /** A joining node's look for a checkpoint, and its copying; `skipped` are the candidates that it passed over. */
  readonly restore: (
    | { readonly outcome: "restored"; readonly name: string; readonly store: string; readonly txId: TxId }
    | { readonly outcome: "none" }
  ) & { readonly skipped: NodeStatus["join"]["skipped"] };
  /** What the retention policy and dead writers left to remove after a checkpoint. `bytes` of the event are those that went. */
  readonly sweep: {
    readonly outcome: "swept";
    readonly removed: readonly RemovedFile[];
    readonly failed: readonly { readonly name: string; readonly code: string; readonly message: string }[];
  };
  /** A checkpoint read back, opened and digested. */
  readonly verification: { readonly outcome: "verified"; readonly verified: VerifiedSummary };
  /** All tables of the index compared with their checksums, slowly; `bytes` of the event are those that were compared. */
  readonly scrub: { readonly outcome: "whole" };
  /** A look at what of the log may go: messages `first` up to (without) `upTo` went; equal when none. */
  readonly trim: {
    readonly outcome: "trimmed" | "kept";
    readonly first: number;
    readonly upTo: number;
    readonly because: string;
  };
}

/** What a sweep removed, with why: in a word and in a sentence. */
export interface RemovedFile {
  readonly name: string;
  readonly reason: "retention" | "leftover" | "expired";
  readonly because: string;
  readonly bytes: number;
}

/** What all events of one work have: `run` is the same for its begin and its end, and no other's in this process' node. */
interface WorkEvent<W extends Work> {
  readonly work: W;
  readonly run: number;
  /** ISO-8601, by this machine's clock. */
  readonly at: string;
}

/** A work has begun. */
export interface WorkBegun extends WorkEvent<Work> {
  readonly stage: "begun";
}

/** How long a work took, and how many bytes it moved: packed, restored, read back, removed, compared; 0 for a trim. */
export interface WorkCost {
  readonly durationMs: number;
  readonly bytes: number;
}

/** A work has failed, or was ended because the node stops (`NOT_READY`). */
export interface WorkFailed extends WorkEvent<Work>, WorkCost {
  readonly stage: "failed";
  readonly error: CairnError;
}

/** For each work, the event of its end. */
export type WorkEnds = {
  readonly [W in Work]: WorkEvent<W> & WorkCost & { readonly stage: "ended" } & WorkResults[W];
};

/** A work has ended well. */
export type WorkEnded = WorkEnds[Work];

/** What a node tells of its work. After each `begun` comes exactly one `ended` or `failed` of the same `run`, also when the node stops. */
export type NodeEvent = WorkBegun | WorkEnded | WorkFailed;

/** Told each event as it happens, in order. It must be quick; what it throws or rejects with is logged and harms nothing. */
export type NodeEventListener = (event: NodeEvent) => void;
