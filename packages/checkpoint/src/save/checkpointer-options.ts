import type { RetentionPolicy } from "../retain/retention.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";

/** The checkpointer's parameters, as docs/configuration.md names them; durations in milliseconds. */
export interface CheckpointerOptions {
  readonly store: CheckpointStore;
  /** The approximate time between two checkpoints of the cluster, not of this node. More than 0. */
  readonly approxFrequency: number;
  /** The stores to restore from when joining; defaults to `[store]`. Never written to. */
  readonly restoreFrom?: readonly CheckpointStore[];
  /** The folder of captures before they are uploaded. */
  readonly checkpointDir: string;
  /**
   * The owner of the captures: the first round removes what earlier processes of this owner left. Two processes may have the same node id
   * but never the same index open, so the path of the index is the best owner. Defaults to the node's id.
   */
  readonly captureOwner?: string;
  readonly keepDirBetweenCheckpoints: boolean;
  readonly keepDirOnClose: boolean;
  readonly retentionPolicy?: RetentionPolicy;
  /** Once the newest checkpoint is older than this, another is saved even though nothing has changed. Optional. */
  readonly refreshAfter?: number;
  /** Nothing is saved while replaying what follows the newest checkpoint would take less than this. Optional. */
  readonly replayBudget?: number;
  readonly checkpointOnClose: boolean;
  /** The approximate time between two verifications of the cluster's newest checkpoint, which nodes make. Never by default. */
  readonly verifyEvery?: number;
  readonly compression: "none" | "gzip";
  /**
   * The time from when the node is ready to its first look; by default short and random. Not a configuration parameter: for programs
   * whose node should only look on request.
   */
  readonly firstLookAfter?: number;
}
