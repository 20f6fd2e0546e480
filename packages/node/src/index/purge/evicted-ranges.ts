import type { KvPurgeRange } from "@cairn/kv";
import { fieldKey, fieldKeyRest } from "../rows/field-row-keys.ts";
import type { IndexState } from "../rows/index-state.ts";
import { parseStem, partEnd, ROW, versionRange } from "../rows/row-keys.ts";

const AFTER = Buffer.from([0]);

/**
 * Returns the key ranges in which the files may hold evicted content of `stems`. These are the ranges of documents and
 * versions and, for a bucket with indexed fields, of all rows of these fields and of removed ones, because the values
 * of earlier versions are no longer known. Other rows about an eviction contain only its key.
 */
export function evictedRanges(stems: readonly Buffer[], { policies }: IndexState): KvPurgeRange[] {
  const ranges: KvPurgeRange[] = [];
  const buckets = new Set<string>();
  for (const stem of stems) {
    const document = Buffer.concat([Buffer.from([ROW.document]), stem]);
    ranges.push({ gte: document, lt: Buffer.concat([document, AFTER]) });
    ranges.push(versionRange(stem));
    buckets.add(parseStem(stem).bucket);
  }
  if (policies === undefined) return ranges;
  const keys = new Set(stems.map((stem) => withoutBucket(stem)));
  const others = new Set(policies.indexes.filter(({ bucket }) => !buckets.has(bucket)).map(({ id }) => id));
  for (let id = 0; id < policies.nextIndex; id++) {
    if (others.has(id)) continue;
    const field = (key: Uint8Array): boolean => keys.has(withoutBucket(fieldKeyRest(key)));
    ranges.push({ gte: fieldKey(ROW.field, id), lt: fieldKey(ROW.field, id + 1), keys: field });
    ranges.push({ gte: fieldKey(ROW.fieldCount, id), lt: fieldKey(ROW.fieldCount, id + 1), keys: anyCount });
  }
  return ranges;
}

/** Returns true, because a count does not show which documents it counts. */
function anyCount(): boolean {
  return true;
}

/**
 * Returns the namespace and name, as a comparable string, of a stem, or of the part of a field row's key that follows
 * the field's number.
 */
function withoutBucket(parts: Buffer): string {
  return parts.toString("latin1", partEnd(parts, 0) + 1);
}
