import type { StoredCheckpoint } from "./list-checkpoints.ts";
import type { SkipReason } from "./schedule.ts";
import type { SweepReport } from "./sweep.ts";
import type { RoundStep } from "./take-checkpoint.ts";

/** What a checkpointer reports as it happens; durations in milliseconds. */
export type CheckpointerEvent =
  | { readonly type: "begun"; readonly forced: boolean }
  | { readonly type: "taken"; readonly checkpoint: StoredCheckpoint; readonly durationMs: number }
  | { readonly type: "skipped"; readonly reason: SkipReason; readonly because: string }
  | { readonly type: "failed"; readonly error: unknown; readonly durationMs: number }
  | ({ readonly type: "swept"; readonly durationMs: number } & SweepReport)
  | { readonly type: "sweep-failed"; readonly error: unknown; readonly durationMs: number };

/** Where a checkpointer is; times in milliseconds since 1970 by this machine's clock, but `takenAt` by the store's. */
export interface CheckpointerStatus {
  /** The log's newest checkpoint as of the last look, whoever saved it. */
  readonly last: {
    readonly name: string;
    readonly txId: number;
    readonly takenAt: string;
    readonly bytes: number;
  } | null;
  readonly nextCheckAt: number | null;
  /** `bytes` of the index packed so far. */
  readonly running: { readonly startedAt: number; readonly step: RoundStep; readonly bytes: number } | null;
  readonly lastFailure: { readonly at: number; readonly code: string; readonly message: string } | null;
}
