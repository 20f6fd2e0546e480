import type { KvReader, KvRow } from "@cairn/kv";
import type { DocumentKey, Revision } from "@cairn/client";
import { documentRowPrefix, parseDocumentRowKey, prefixEnd, ROW } from "../rows/row-keys.ts";
import {
  checkedVersion,
  type VersionValue,
  versionValueDocument,
  versionValueRevision,
} from "../rows/version-values.ts";
import { RowCursor } from "../rows/row-cursor.ts";

/** A document that differs between two indexes. Its revision is null for an index that lacks it. */
export interface Difference {
  readonly key: DocumentKey;
  readonly change: "added" | "changed" | "removed";
  readonly before: Revision | null;
  readonly after: Revision | null;
}

interface DiffOptions {
  readonly bucket?: string;
  /** If true, only content is compared. By default, rewriting the same content is a change, because of the revision. */
  readonly byContent?: boolean;
  /** Called periodically with the number of documents compared. */
  readonly onProgress?: (documents: number) => void;
}

const PROGRESS_EVERY = 10_000;

/**
 * Yields the current documents in which `after` differs from `before`, in key order, and returns the number of equal
 * ones. Keeps one page of rows of each index in memory. Neither index may change meanwhile.
 */
export async function* diffIndexes(
  before: KvReader,
  after: KvReader,
  { bucket, byContent = false, onProgress }: DiffOptions = {},
): AsyncGenerator<Difference, number, void> {
  const prefix = bucket === undefined ? Buffer.from([ROW.document]) : documentRowPrefix(bucket);
  const range = { gte: prefix, lt: prefixEnd(prefix) };
  const left = new RowCursor(before, range, checkedRow);
  const right = new RowCursor(after, range, checkedRow);
  await Promise.all([left.next(), right.next()]);
  let equal = 0;
  for (let compared = 1; left.row !== undefined || right.row !== undefined; compared++) {
    const order =
      left.row === undefined ? 1 : right.row === undefined ? -1 : Buffer.compare(left.row[0], right.row[0]);
    if (order < 0 && left.row !== undefined) yield difference("removed", left.row, undefined);
    else if (order > 0 && right.row !== undefined) yield difference("added", undefined, right.row);
    else if (left.row !== undefined && right.row !== undefined) {
      const [one, other] = [left.row[1], right.row[1]].map((value) =>
        byContent ? versionValueDocument(value) : value,
      );
      if (one !== undefined && other !== undefined && Buffer.compare(one, other) === 0) equal += 1;
      else yield difference("changed", left.row, right.row);
    }
    if (order <= 0 && !left.advance()) await left.next();
    if (order >= 0 && !right.advance()) await right.next();
    if (compared % PROGRESS_EVERY === 0) onProgress?.(compared);
  }
  return equal;
}

function difference(
  change: Difference["change"],
  before: DocumentRow | undefined,
  after: DocumentRow | undefined,
): Difference {
  const [rowKey] = before ?? after ?? [new Uint8Array(0)];
  return {
    key: parseDocumentRowKey(rowKey),
    change,
    before: before === undefined ? null : versionValueRevision(before[1]),
    after: after === undefined ? null : versionValueRevision(after[1]),
  };
}

type DocumentRow = readonly [rowKey: Uint8Array, value: VersionValue];

function checkedRow(row: KvRow): DocumentRow {
  return [row[0], checkedVersion(...row)];
}
