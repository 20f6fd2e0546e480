import type { CairnError } from "@cairn/kv";
import { ARCHIVE_FORMATS, type CapturedState, type Manifest } from "./checkpoint.ts";

/** The source of checkpoints: the checkpointer's view of the node's index. */
export interface CheckpointSource {
  /** The node's id, for manifests and leases. */
  readonly node: string;
  /** Cairn's version, for manifests. */
  readonly version: string;
  /**
   * Returns the index's current position; undefined if there are no transactions. It must be cheap, because it is
   * called before the decision whether to copy anything.
   */
  position(): Promise<{ readonly logId: string; readonly txId: number } | undefined>;
  /**
   * Creates `dir`, copies the files of the index into it, and returns the state that it reads from the copy. The files
   * in `dir`, which must contain only regular files and no subfolders, become the checkpoint. LevelDB tables do not
   * have to be compared with their checksums, because this is done when they are packed. The chains in the state
   * include their values at `others`, the transactions at which other checkpoints end, as far as these values are
   * known.
   */
  capture(dir: string, others?: readonly number[]): Promise<CapturedState>;
  /** Called when a copy, and therefore the index, turns out to be damaged (`INDEX_CORRUPT`). Nothing was published. */
  onDamage?(error: CairnError): void;
  /**
   * The format of the files that `capture` creates. If it is given, checkpoints in other formats count neither as the
   * newest nor as retained.
   */
  readonly format?: CapturedState["format"];
  /**
   * Returns whether the log still contains the transactions of the checkpoint `name`, which has the log's id.
   * Otherwise, a checkpoint with transactions that the log has lost would count as the newest forever. By default, all
   * checkpoints agree. If it throws, the round ends and nothing is saved.
   */
  agrees?(manifest: Manifest, name: string): Promise<boolean>;
  /**
   * Returns the estimated time to replay the transactions after a checkpoint (ms); undefined if not every joining node
   * could read all of them. Called only for the newest checkpoint, and only if a budget is set. If it is absent, the
   * budget has no effect.
   */
  replayTimeMs?(manifest: Manifest): Promise<number | undefined>;
  /**
   * Returns whether this checkpoint is known to be damaged, so that it does not count as the newest. By default, none
   * is.
   */
  isDamaged?(name: string): boolean;
}

/** If `wanted` is undefined, any index in an archive of a known format qualifies. */
export function isCurrentFormat(wanted: CheckpointSource["format"], { format }: Manifest): boolean {
  if (!Object.values<string>(ARCHIVE_FORMATS).includes(format.archive)) return false;
  return wanted === undefined || (wanted.index === format.index && wanted.kv === format.kv);
}
