import type { OtherLook } from "../store/checkpoint-source.ts";
import type { StoredCheckpoint } from "../store/list-checkpoints.ts";
import type { SkipReason } from "./schedule.ts";
import type { SweepReport } from "../retain/sweep.ts";

/** A problem that an operator should know about, although checkpoints continue. It consists of a message and a hint. */
export interface CheckpointerWarning {
  readonly about: "future-checkpoint" | "capture-directory";
  readonly message: string;
  readonly hint: string;
}

export type RoundStep = "looking" | "capturing" | "uploading" | "publishing" | "sweeping";

/**
 * Durations are in ms. Each `begun` is followed by exactly one of `taken`, `skipped` and `failed`, and each
 * `sweep-begun` by exactly one of `swept` and `sweep-failed`.
 */
export type CheckpointerEvent =
  | { readonly type: "begun"; readonly forced: boolean }
  | { readonly type: "taken"; readonly checkpoint: StoredCheckpoint; readonly durationMs: number }
  | {
      readonly type: "skipped";
      readonly reason: SkipReason;
      readonly because: string;
      readonly durationMs: number;
    }
  /** `bytes` is the number of bytes of the index packed before the failure. */
  | {
      readonly type: "failed";
      readonly error: unknown;
      readonly durationMs: number;
      readonly bytes: number;
    }
  | { readonly type: "sweep-begun" }
  | ({ readonly type: "swept"; readonly durationMs: number } & SweepReport)
  | { readonly type: "sweep-failed"; readonly error: unknown; readonly durationMs: number }
  /** A problem that needs an operator's attention, although checkpoints continue. */
  | ({ readonly type: "warning" } & CheckpointerWarning);

/** Times are milliseconds since 1970 by this machine's clock, except `takenAt`, which is by the store's clock. */
export interface CheckpointerStatus {
  /** The log's newest checkpoint at the last look, no matter which node saved it. */
  readonly last: {
    readonly name: string;
    readonly txId: number;
    readonly takenAt: string;
    readonly bytes: number;
  } | null;
  /** How far the store's clock was ahead of this machine's at the last look (ms); null before the first look. */
  readonly storeAhead: number | null;
  /** The looks of the nodes that, at the last look, proved to have another store. */
  readonly otherStores: readonly OtherLook[];
  /** The time of the last successful look. */
  readonly lastCheckAt: number | null;
  readonly nextCheckAt: number | null;
  /** The running round; `bytes` is the number of bytes of the index packed so far. */
  readonly running: { readonly startedAt: number; readonly step: RoundStep; readonly bytes: number } | null;
  /** Why the last round saved nothing: a word and a sentence. Null if it saved or failed, and before the first one. */
  readonly skipped: { readonly at: number; readonly reason: SkipReason; readonly because: string } | null;
  /** The last warning of each kind, and when it began. A look withdraws what was not found again for four periods. */
  readonly warnings: readonly (CheckpointerWarning & { readonly at: number })[];
  readonly lastFailure: {
    readonly at: number;
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
  } | null;
}
