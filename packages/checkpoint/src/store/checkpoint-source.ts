import type { CairnError } from "@cairn/kv";
import { ARCHIVE_FORMATS } from "./checkpoint.ts";
import type { CapturedState, Manifest } from "./checkpoint.ts";

/** The source of checkpoints: the node's index, as the checkpointer sees it. */
export interface CheckpointSource {
  /** The node's id, for manifests and leases. */
  readonly node: string;
  /** Cairn's version, for manifests. */
  readonly version: string;
  /** Returns the index's current position; undefined if there are no transactions. Must be cheap: it decides whether anything is copied. */
  position(): Promise<{ readonly logId: string; readonly txId: number } | undefined>;
  /**
   * Copies the files of the index into `dir`, which it makes, and returns the state that it reads from the copy. What it leaves in `dir`
   * becomes the checkpoint: plain files, no folders. Tables of LevelDB need not be compared with their checksums, since packing does that.
   * Chains in the state include their values at `others`, the transactions at which other checkpoints end, as far as they are known.
   */
  capture(dir: string, others?: readonly number[]): Promise<CapturedState>;
  /** Called when a copy, and therefore the index, turns out to be damaged (`INDEX_CORRUPT`). Nothing was published. */
  onDamage?(error: CairnError): void;
  /** The format of what `capture` makes. If given, checkpoints of other formats count neither as the newest nor as retained. */
  readonly format?: CapturedState["format"];
  /**
   * Returns whether the log still contains the transactions of the checkpoint `name`, which has the log's id. A checkpoint with
   * transactions that the log lost would count as the newest forever. Optional; by default all agree. An error ends the round, and nothing
   * is saved.
   */
  agrees?(manifest: Manifest, name: string): Promise<boolean>;
  /**
   * Returns how long it would take to replay what follows a checkpoint (ms, estimated); undefined if not every joining node could read all
   * of it. Called for the newest checkpoint, and only if a budget is set. Optional; without it, the budget has no effect.
   */
  replayTimeMs?(manifest: Manifest): Promise<number | undefined>;
  /** Returns whether this checkpoint is known to be damaged and so does not count as the newest. Optional; by default none is. */
  isDamaged?(name: string): boolean;
}

/** Returns whether nodes that write `wanted` can restore a checkpoint; undefined: any index in an archive of a known format. */
export function isCurrentFormat(wanted: CheckpointSource["format"], { format }: Manifest): boolean {
  if (!Object.values<string>(ARCHIVE_FORMATS).includes(format.archive)) return false;
  return wanted === undefined || (wanted.index === format.index && wanted.kv === format.kv);
}
