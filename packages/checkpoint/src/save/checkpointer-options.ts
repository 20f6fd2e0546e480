import type { RetentionPolicy } from "../retain/retention.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";

/** The checkpointer's parameters, as docs/configuration.md names them; durations in milliseconds. */
export interface CheckpointerOptions {
  readonly store: CheckpointStore;
  /** About how often the cluster, not this node, saves a checkpoint. More than 0. */
  readonly approxFrequency: number;
  /** Where to look when joining; defaults to `[store]`. Never written to. */
  readonly restoreFrom?: readonly CheckpointStore[];
  /** Where captures are made before they are uploaded. */
  readonly checkpointDir: string;
  /**
   * The owner of the captures: the first round removes what earlier processes of this owner left. Two processes may have the same node id
   * but never the same index open, so the path of the index is the best owner. Defaults to the node's id.
   */
  readonly captureOwner?: string;
  readonly keepDirBetweenCheckpoints: boolean;
  readonly keepDirOnClose: boolean;
  readonly retentionPolicy?: RetentionPolicy;
  /** Once the newest checkpoint is older than this, another is saved although nothing has changed. Optional. */
  readonly refreshAfter?: number;
  readonly checkpointOnClose: boolean;
  /** About how often the cluster reads its newest checkpoint back and verifies it, which the node does. Never by default. */
  readonly verifyEvery?: number;
  readonly compression: "none" | "gzip";
  /**
   * How long after the node is ready its first look comes; by default a short random time. Not a configuration parameter: for programs
   * whose node should only look on request.
   */
  readonly firstLookAfter?: number;
}
