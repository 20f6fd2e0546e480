import type { QueuePolicy } from "@cairn/client";
import type { Shard } from "../rows/queue-rows.ts";

/** The queue of a bucket when a transaction sets policies. */
export interface ReconfiguredQueue {
  readonly name: string;
  readonly before: QueuePolicy | undefined;
  readonly after: QueuePolicy | undefined;
  /** The shards that are not spare. */
  readonly shards: ReadonlyMap<number, Shard>;
  /** The counters of the bucket. */
  readonly documents: number;
  readonly tombstones: number;
}

/** A policy changes only if every row of the queue is right under the new one, so that none must be rewritten. */
export function reconfigurationProblem(queue: ReconfiguredQueue): string | undefined {
  const { name, before, after, shards, documents, tombstones } = queue;
  if (after === undefined) {
    if (shards.size === 0) return undefined;
    return `${name} has shards that are not spare (${shards.size}): drain and retire them before removing the queue`;
  }
  if (before === undefined) {
    if (documents + tombstones === 0) return undefined;
    return `${name} is not empty (documents: ${documents}, deleted keys: ${tombstones}): a queue begins in an empty bucket, so use another one or evict them`;
  }
  const beyond = Math.max(-1, ...shards.keys());
  if (beyond >= after.shards) {
    return `${name} shard ${beyond} is not spare: drain and retire it before reducing shards to ${after.shards}`;
  }
  const entries = [...shards.values()].reduce((sum, shard) => sum + shard.entries, 0);
  if (entries === 0 || JSON.stringify(before.terminal) === JSON.stringify(after.terminal)) return undefined;
  return `${name} has entries (${entries}): terminal changes only while there are none`;
}
