import type { StoredCheckpoint } from "../store/list-checkpoints.ts";
import type { SkipReason } from "./schedule.ts";
import type { CheckpointerWarning } from "./store-witness.ts";
import type { SweepReport } from "../retain/sweep.ts";
import type { RoundStep } from "./take-checkpoint.ts";

/**
 * What a checkpointer reports as it happens; durations in milliseconds. After each `begun` comes exactly one of `taken`, `skipped` and
 * `failed`, after each `sweep-begun` one of `swept` and `sweep-failed`, however the round ends.
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
  /** `bytes` of the index were packed until then. */
  | {
      readonly type: "failed";
      readonly error: unknown;
      readonly durationMs: number;
      readonly bytes: number;
    }
  | { readonly type: "sweep-begun" }
  | ({ readonly type: "swept"; readonly durationMs: number } & SweepReport)
  | { readonly type: "sweep-failed"; readonly error: unknown; readonly durationMs: number }
  /** Something that somebody should look at, though checkpoints go on. */
  | ({ readonly type: "warning" } & CheckpointerWarning);

/** Where a checkpointer is; times in milliseconds since 1970 by this machine's clock, but `takenAt` by the store's. */
export interface CheckpointerStatus {
  /** The log's newest checkpoint as of the last look, whoever saved it. */
  readonly last: {
    readonly name: string;
    readonly txId: number;
    readonly takenAt: string;
    readonly bytes: number;
  } | null;
  /** How far the store's clock was ahead of this machine's at the last look (ms); null before the first. */
  readonly storeAhead: number | null;
  readonly nextCheckAt: number | null;
  /** `bytes` of the index packed so far. */
  readonly running: { readonly startedAt: number; readonly step: RoundStep; readonly bytes: number } | null;
  /** The last of each kind; none is ever taken back. */
  readonly warnings: readonly (CheckpointerWarning & { readonly at: number })[];
  readonly lastFailure: {
    readonly at: number;
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
  } | null;
}
