import type { CairnError } from "@cairn/kv";
import { ARCHIVE_FORMATS } from "./archive-format.ts";
import type { CapturedState, Manifest } from "./checkpoint.ts";

/** What another node of the log found when it last looked at its store, which should be the same one. */
export interface OtherLook {
  /** Identifies the node's process. */
  readonly instance: string;
  readonly node: string;
  readonly location: string;
  /** The time of the look by that node's clock, which only distinguishes its looks. */
  readonly at: string;
  /** The newest checkpoint that it found or saved, and its present age (ms). */
  readonly newest: { readonly name: string; readonly ageMs: number };
}

/** The source of checkpoints: the checkpointer's view of the node's index. */
export interface CheckpointSource {
  /** The node's id, for manifests and leases. */
  readonly node: string;
  readonly version: string;
  /** Undefined if there are no transactions. Must be cheap: it precedes the decision whether to copy anything. */
  position(): Promise<{ readonly logId: string; readonly txId: number } | undefined>;
  /**
   * Creates `dir`, copies the files of the index into it (only regular files, no subfolders), and returns the state
   * that it reads from the copy. Tables are compared with their checksums later, when they are packed. The chains
   * include their known values at `others`, the transactions at which other checkpoints end.
   */
  capture(dir: string, others?: readonly number[]): Promise<CapturedState>;
  /**
   * Reads a captured copy completely, unless it has been called for the same damaged checkpoints before: the index may
   * have their fault. Throws `INDEX_CORRUPT`. By default, copies are not read.
   */
  check?(dir: string, damaged: readonly string[], signal: AbortSignal): Promise<void>;
  /** Called when a copy, and therefore the index, turns out to be damaged (`INDEX_CORRUPT`). Nothing was published. */
  onDamage?(error: CairnError): void;
  /** The format that `capture` creates. If given, checkpoints in others do not count as retained. */
  readonly format?: CapturedState["format"];
  /**
   * Returns whether an index in a format can be restored, so that a checkpoint counts as the newest: nodes of a new
   * version then save none as long as those of the old one do. Defaults to those in `format`.
   */
  readonly reads?: (format: CapturedState["format"]) => boolean;
  /**
   * Returns whether the log still has the transactions of the checkpoint `name`, which has the log's id: otherwise, one
   * with lost transactions would count as the newest forever. By default, all agree. If it throws, the round ends and
   * nothing is saved.
   */
  agrees?(manifest: Omit<Manifest, "files">, name: string): Promise<boolean>;
  /** Returns whether a checkpoint is known to be damaged and does not count as the newest. Defaults to none. */
  isDamaged?(name: string): boolean;
  /** Returns what the other nodes that save have found. Called before each look. Without it, stores are not compared. */
  otherLooks?(): Promise<readonly OtherLook[]>;
}

export function isRestorable({ format, reads }: CheckpointSource, manifest: Manifest): boolean {
  if (reads === undefined) return isCurrentFormat(format, manifest);
  return isCurrentFormat(undefined, manifest) && reads(manifest.format);
}

/** If `wanted` is undefined, any index in an archive of a known format qualifies. */
export function isCurrentFormat(
  wanted: CheckpointSource["format"],
  { format }: Pick<Manifest, "format">,
): boolean {
  if (!Object.values<string>(ARCHIVE_FORMATS).includes(format.archive)) return false;
  return wanted === undefined || (wanted.index === format.index && wanted.kv === format.kv);
}
