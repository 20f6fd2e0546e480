import type { IndexState } from "./checkpoint.ts";

/** What is checkpointed: the node's index, seen from the checkpointer. */
export interface CheckpointSource {
  /** The node's id, for manifests and leases. */
  readonly node: string;
  /** Cairn's version, for manifests. */
  readonly version: string;
  /** Where the index is now, cheaply: decides whether anything changed, before anything is copied. Undefined: nothing to save (no transactions). */
  position(): Promise<{ readonly logId: string; readonly txId: number } | undefined>;
  /**
   * Copies the index's files into `dir` (made by it), opens the copy to learn what it holds, closes it and tells. Whatever it
   * leaves in `dir` is the checkpoint's content: plain files, no folders.
   */
  capture(dir: string): Promise<IndexState>;
}
