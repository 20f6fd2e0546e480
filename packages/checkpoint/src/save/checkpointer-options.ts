import type { RetentionPolicy } from "../retain/retention.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";

/** The checkpointer's parameters, named as in docs/configuration.md; durations are in milliseconds. */
export interface CheckpointerOptions {
  readonly store: CheckpointStore;
  /** The approximate time between two checkpoints of the cluster, not of this node. It must be greater than 0. */
  readonly approxFrequency: number;
  /** The stores to restore from when joining. They are never written to. Defaults to `[store]`. */
  readonly restoreFrom?: readonly CheckpointStore[];
  /** The folder that contains captures until they are uploaded. */
  readonly checkpointDir: string;
  /**
   * The first round removes the captures that earlier processes of this owner left. The path of the index is the best
   * owner, because two processes never have the same index open. Defaults to the node's id.
   */
  readonly captureOwner?: string;
  readonly keepDirBetweenCheckpoints: boolean;
  readonly keepDirOnClose: boolean;
  readonly retentionPolicy?: RetentionPolicy;
  /** If the newest checkpoint is older than this (ms), one is saved even without changes. By default, none is. */
  readonly refreshAfter?: number;
  readonly checkpointOnClose: boolean;
  /** The approximate interval at which nodes verify the cluster's newest checkpoint. By default, they never do. */
  readonly verifyEvery?: number;
  readonly compression: "none" | "gzip";
  /** The delay of the first look (ms), for nodes that should look only on request. Random by default. */
  readonly firstLookAfter?: number;
}
