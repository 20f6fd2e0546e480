import type { KvPurgeRange } from "@cairn/kv";
import { fieldKey, fieldKeyRest } from "../rows/field-row-keys.ts";
import type { IndexState } from "../rows/index-state.ts";
import { parseStem, prefixEnd, ROW, partEnd } from "../rows/row-keys.ts";

const AFTER = Buffer.from([0]);

/**
 * Where the files may hold what was evicted under `stems`: their documents and versions, and of a bucket with indexed fields all rows of
 * these, since which values earlier versions had is no longer known, and a removed field's. What the index has of an eviction besides
 * names its key alone.
 */
export function evictedRanges(stems: readonly Buffer[], { policies }: IndexState): KvPurgeRange[] {
  const ranges: KvPurgeRange[] = [];
  const buckets = new Set<string>();
  for (const stem of stems) {
    const document = Buffer.concat([Buffer.from([ROW.document]), stem]);
    const version = Buffer.concat([Buffer.from([ROW.version]), stem]);
    ranges.push({ gte: document, lt: Buffer.concat([document, AFTER]) });
    ranges.push({ gte: version, lt: prefixEnd(version) });
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

/** Counts do not say whose values they counted. */
function anyCount(): boolean {
  return true;
}

/** A stem, or what a field's row has behind its number, without the first part: namespace and name, in a form that can be compared. */
function withoutBucket(parts: Buffer): string {
  return parts.toString("latin1", partEnd(parts, 0) + 1);
}
