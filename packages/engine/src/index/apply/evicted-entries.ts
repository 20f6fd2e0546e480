import type { KeyState, KeyStates } from "./key-states.ts";
import type { QueueView } from "../queues/queue-transaction.ts";
import { asKind, documentRowKey, ROW } from "../rows/row-keys.ts";

/**
 * Finds and collects the keys of an entry that may have any row, in whichever shard. An entry has a document in one
 * shard, and deletions and older versions in those from which it was moved or deleted. Spare shards have no rows, so the
 * number of reads is bounded by the queue's shards.
 */
export async function collectEvicted(
  { name, shards, places }: QueueView,
  entry: string,
  keys: KeyStates,
): Promise<readonly KeyState[]> {
  const place = places.get(entry)?.shard;
  const { tombstones } = keys.collectBucket(name);
  const found = place === undefined ? [] : [place];
  // Only the removal of a retired shard leaves older versions without a document and a deletion.
  for (const [shard, { state }] of shards) if (shard !== place && state === "retiring") found.push(shard);
  const others = [...shards.keys()].filter((shard) => tombstones > 0 && !found.includes(shard));
  const rowKeys = others.map((shard) => asKind(documentRowKey(name, `${shard}/${entry}`), ROW.tombstone));
  const deletions = rowKeys.length === 0 ? [] : await keys.reader.getMany(rowKeys);
  found.push(...others.filter((_, at) => deletions[at] !== undefined));
  return found.map((shard) => keys.collectKey(name, `${shard}/${entry}`));
}
