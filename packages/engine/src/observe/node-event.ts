import type { CairnError } from "@cairn/kv";
import type { CheckpointSummary, NodeStatus, TxId, VerifiedSummary } from "@cairn/client";

export type Work = keyof WorkResults;

export interface WorkResults {
  /** A checkpoint round saved a checkpoint, or found a reason not to save one. */
  readonly checkpoint:
    | { readonly outcome: "saved"; readonly checkpoint: CheckpointSummary }
    | {
        readonly outcome: "empty" | "unchanged" | "recent" | "leased";
        readonly because: string;
      };
  /** A joining node searched for a checkpoint, and restored one or found none. `skipped` lists unusable ones. */
  readonly restore: (
    | { readonly outcome: "restored"; readonly name: string; readonly store: string; readonly txId: TxId }
    | { readonly outcome: "none" }
  ) & { readonly skipped: NodeStatus["join"]["skipped"] };
  /** What retention no longer keeps, and leftovers of dead writers, were removed: the event's `bytes` is their size. */
  readonly sweep: {
    readonly outcome: "swept";
    readonly removed: readonly RemovedFile[];
    readonly failed: readonly { readonly name: string; readonly code: string; readonly message: string }[];
  };
  /** A checkpoint was restored for practice, opened and digested. */
  readonly verification: { readonly outcome: "verified"; readonly verified: VerifiedSummary };
  /** All tables of the index were compared with their checksums, at a low rate: the event's `bytes` in total. */
  readonly scrub: { readonly outcome: "whole" };
  /** Messages from `first` up to but not including `upTo` were removed: none if the two are equal. */
  readonly trim: {
    readonly outcome: "trimmed" | "kept";
    readonly first: number;
    readonly upTo: number;
    readonly because: string;
  };
  /**
   * A look at the log's backup found something to do; `unchanged` means that another node was faster. `covered` are the
   * runs of transactions in the backup. The event's `bytes` were written, including merged segments.
   */
  readonly backup: {
    readonly outcome: "written" | "merged" | "unchanged";
    readonly written: readonly { readonly name: string; readonly bytes: number }[];
    readonly merged: readonly { readonly name: string; readonly bytes: number }[];
    /** The names of segments that were removed because longer ones contain their transactions. */
    readonly removed: readonly string[];
    readonly covered: readonly { readonly first: TxId; readonly last: TxId }[];
  };
}

/** A file that a sweep removed, and the reason, both as a word and as a sentence. */
export interface RemovedFile {
  readonly name: string;
  readonly reason: "retention" | "leftover" | "expired";
  readonly because: string;
  readonly bytes: number;
}

/** `run` is the same in the events of a task's beginning and end, and unique until the node restarts. */
interface WorkEvent<W extends Work> {
  readonly work: W;
  readonly run: number;
  /** The time in ISO 8601, by the clock of this machine. */
  readonly at: string;
}

export interface WorkBegun extends WorkEvent<Work> {
  readonly stage: "begun";
}

/** The duration of a task, and the bytes that it packed, restored, verified, removed or compared (0 for a trim). */
export interface WorkCost {
  readonly durationMs: number;
  readonly bytes: number;
}

/** The event of a task that failed, or that was aborted because the node is stopping (`NOT_READY`). */
export interface WorkFailed extends WorkEvent<Work>, WorkCost {
  readonly stage: "failed";
  readonly error: CairnError;
}

export type WorkEnds = {
  readonly [W in Work]: WorkEvent<W> & WorkCost & { readonly stage: "ended" } & WorkResults[W];
};

export type WorkEnded = WorkEnds[Work];

/** An event of a node. Each `begun` is followed by exactly one `ended` or `failed` with the same `run`, even when the node stops. */
export type NodeEvent = WorkBegun | WorkEnded | WorkFailed;

/** Called as events happen, in order. It must return quickly. If it throws or rejects, the error is only logged. */
export type NodeEventListener = (event: NodeEvent) => void;
