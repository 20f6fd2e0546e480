import type { KeyState, KeyStates } from "./key-states.ts";
import type { QueueView } from "../queues/queue-transaction.ts";
import { firstRow } from "../rows/row-cursor.ts";
import { asKind, documentRowKey, ROW, versionRange } from "../rows/row-keys.ts";

export interface EvictedKey {
  readonly key: KeyState;
  /** True if the key has only superseded versions left, as in a retired shard whose rows are being removed. */
  readonly hasOnlyVersions: boolean;
}

/**
 * Finds and collects the keys of an entry that have any row, in whichever shard. An entry has a document in one shard,
 * and deletions and older versions in those from which it was moved or deleted. Spare shards have no rows, so the
 * number of reads is bounded by the queue's shards.
 */
export async function collectEvicted(
  { name, shards, places }: QueueView,
  entry: string,
  keys: KeyStates,
): Promise<readonly EvictedKey[]> {
  const found: EvictedKey[] = [];
  const add = (shard: number, hasOnlyVersions = false): void => {
    found.push({ key: keys.collectKey(name, `${shard}/${entry}`), hasOnlyVersions });
  };
  const place = places.get(entry)?.shard;
  if (place !== undefined) add(place);
  const { tombstones } = keys.collectBucket(name);
  // Only the removal of a retired shard leaves older versions without a document and a deletion.
  const candidates = [...shards].filter(
    ([shard, { state }]) => shard !== place && (tombstones > 0 || state === "retiring"),
  );
  if (candidates.length === 0) return found;
  const rowKeys = candidates.map(([shard]) => documentRowKey(name, `${shard}/${entry}`));
  const deletions = await keys.reader.getMany(rowKeys.map((rowKey) => asKind(rowKey, ROW.tombstone)));
  for (const [at, [shard, { state }]] of candidates.entries()) {
    if (deletions[at] !== undefined) add(shard);
    else if (state === "retiring" && rowKeys[at] !== undefined) {
      const range = versionRange(rowKeys[at].subarray(1));
      if ((await firstRow(keys.reader, range)) !== undefined) add(shard, true);
    }
  }
  return found;
}
