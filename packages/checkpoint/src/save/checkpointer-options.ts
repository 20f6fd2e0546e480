import type { RetentionPolicy } from "../retain/retention.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";

/** The checkpointer's parameters, as docs/configuration.md names them; durations in milliseconds. */
export interface CheckpointerOptions {
  readonly store: CheckpointStore;
  /** About how often the cluster, not this node, saves a checkpoint. More than 0. */
  readonly approxFrequency: number;
  /** Where to look when joining; `[store]` when left out. Never written to. */
  readonly restoreFrom?: readonly CheckpointStore[];
  /** The local capture before it is uploaded. */
  readonly checkpointDir: string;
  /**
   * Whose captures lie in it: the first round removes what this owner left there. Two processes may bear one node id but never have one
   * index open, so the index's place is best; the node's id when left out.
   */
  readonly captureOwner?: string;
  readonly keepDirBetweenCheckpoints: boolean;
  readonly keepDirOnClose: boolean;
  readonly retentionPolicy?: RetentionPolicy;
  /** Save again though nothing changed once the newest is older than this. */
  readonly refreshAfter?: number;
  readonly checkpointOnClose: boolean;
  /** About how often the cluster reads its newest checkpoint back and verifies it; never when left out. The node's part. */
  readonly verifyEvery?: number;
  readonly compression: "none" | "gzip";
  /**
   * How long after it is ready the node first looks at the store; when left out at random, soon. No parameter of a file: for programs
   * whose node is to look only when asked.
   */
  readonly firstLookAfter?: number;
}
