import type { CairnError } from "@cairn/kv";
import { ARCHIVE_FORMATS } from "./checkpoint.ts";
import type { IndexState, Manifest } from "./checkpoint.ts";

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
   * leaves in `dir` is the checkpoint's content: plain files, no folders. The tables of a LevelDB need not be compared with their
   * checksums: they are while they are packed. Where its state has chains, they tell the values at `others` as well, as far as those are
   * known: the transactions that other checkpoints end at.
   */
  capture(dir: string, others?: readonly number[]): Promise<IndexState>;
  /** Told when a copy turned out to be damaged (`INDEX_CORRUPT`), and so what it was made of; nothing of it was published. */
  onDamage?(error: CairnError): void;
  /** The format of what `capture` makes. Given, checkpoints of another one count neither as the newest nor as kept. */
  readonly format?: IndexState["format"];
  /**
   * Whether the log still holds what the checkpoint called `name`, of its id, contains. One that it lost has a higher tx-id than what nodes
   * have now, and would pass for the newest for ever. Left out: all agree. What it throws ends the round, and nothing is saved.
   */
  agrees?(manifest: Manifest, name: string): Promise<boolean>;
  /** Whether the checkpoint of this name is known to be one that nobody can restore: it does not count as the newest. Left out: none is. */
  isDamaged?(name: string): boolean;
}

/** Whether nodes that run this source can restore what `manifest` describes. */
export function isCurrent(source: CheckpointSource, manifest: Manifest): boolean {
  return isCurrentFormat(source.format, manifest);
}

/** Whether nodes that make `format` can restore what `manifest` describes; undefined: any index in an archive that can be read. */
export function isCurrentFormat(wanted: CheckpointSource["format"], { format }: Manifest): boolean {
  if (!Object.values<string>(ARCHIVE_FORMATS).includes(format.archive)) return false;
  return wanted === undefined || (wanted.index === format.index && wanted.kv === format.kv);
}
