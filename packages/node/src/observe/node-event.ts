import type { CairnError } from "@cairn/kv";
import type { CheckpointSummary, NodeStatus, TxId, VerifiedSummary } from "@cairn/client";

/** Kinds of work of a node that begin, end and can fail. */
export type Work = keyof WorkResults;

/** The result of each work that succeeded. `outcome` is one of a few fixed words. */
export interface WorkResults {
  /** A checkpoint round: saved a checkpoint, or gives the reason why it did not. */
  readonly checkpoint:
    | { readonly outcome: "saved"; readonly checkpoint: CheckpointSummary }
    | { readonly outcome: "empty" | "unchanged" | "recent" | "leased"; readonly because: string };
  /** The search of a joining node for a checkpoint, and its restore. `skipped` lists the candidates that were not usable. */
  readonly restore: (
    | { readonly outcome: "restored"; readonly name: string; readonly store: string; readonly txId: TxId }
    | { readonly outcome: "none" }
  ) & { readonly skipped: NodeStatus["join"]["skipped"] };
  /** Removal of what the retention policy no longer keeps, and of leftovers of dead writers. The `bytes` of the event are those removed. */
  readonly sweep: {
    readonly outcome: "swept";
    readonly removed: readonly RemovedFile[];
    readonly failed: readonly { readonly name: string; readonly code: string; readonly message: string }[];
  };
  /** A checkpoint was restored for practice, opened and digested. */
  readonly verification: { readonly outcome: "verified"; readonly verified: VerifiedSummary };
  /** All tables of the index were compared with their checksums, at a low rate. The `bytes` of the event are those compared. */
  readonly scrub: { readonly outcome: "whole" };
  /** The log was examined for messages that may be trimmed. Messages from `first` up to but not including `upTo` were removed; equal when none were. */
  readonly trim: {
    readonly outcome: "trimmed" | "kept";
    readonly first: number;
    readonly upTo: number;
    readonly because: string;
  };
}

/** A file that a sweep removed, and why: as a word and as a sentence. */
export interface RemovedFile {
  readonly name: string;
  readonly reason: "retention" | "leftover" | "expired";
  readonly because: string;
  readonly bytes: number;
}

/** Fields of all events. `run` is shared by the begin and the end of one work, and unique within this start of the node. */
interface WorkEvent<W extends Work> {
  readonly work: W;
  readonly run: number;
  /** ISO-8601, by the clock of this machine. */
  readonly at: string;
}

/** A work has begun. */
export interface WorkBegun extends WorkEvent<Work> {
  readonly stage: "begun";
}

/** How long a work took, and how many bytes it packed, restored, verified, removed or compared; 0 for a trim. */
export interface WorkCost {
  readonly durationMs: number;
  readonly bytes: number;
}

/** A work failed, or was aborted because the node stops (`NOT_READY`). */
export interface WorkFailed extends WorkEvent<Work>, WorkCost {
  readonly stage: "failed";
  readonly error: CairnError;
}

/** The event that ends each kind of work. */
export type WorkEnds = {
  readonly [W in Work]: WorkEvent<W> & WorkCost & { readonly stage: "ended" } & WorkResults[W];
};

/** A work succeeded. */
export type WorkEnded = WorkEnds[Work];

/** An event of a node. Each `begun` is followed by exactly one `ended` or `failed` with the same `run`, also when the node stops. */
export type NodeEvent = WorkBegun | WorkEnded | WorkFailed;

/** Called with each event as it happens, in order. It must return quickly. What it throws or rejects with is logged and has no other effect. */
export type NodeEventListener = (event: NodeEvent) => void;
