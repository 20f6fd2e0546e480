import type { LevelManifest, LevelTable } from "../files/level-manifest.ts";
import type { KvPurgeRange } from "../store/kv-store.ts";

/** A range of keys that is compacted in one call, which takes seconds at most. */
export interface PurgePiece {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
}

/** The approximate number of bytes that one piece rewrites per level. */
const PIECE_BYTES = 32 * 1024 * 1024;
/** About one table. Rewriting that much costs less than another compaction. */
const GAP_BYTES = 2 * 1024 * 1024;

/** Returns the live tables of a manifest, in the order of their first keys. */
export function tablesOf({ tables }: LevelManifest): LevelTable[] {
  return [...tables.values()].toSorted((a, b) => Buffer.compare(a.first, b.first));
}

/** Splits large ranges, and joins those in the same tables or close to each other. The pieces are in key order. */
export function piecesOf(
  ranges: readonly Pick<KvPurgeRange, "gte" | "lt">[],
  tables: readonly Omit<LevelTable, "level">[],
): PurgePiece[] {
  const pieces: PurgePiece[] = [];
  let at = 0;
  /** The size of the tables that begin in the last piece. */
  let bytes = 0;
  for (const { gte, lt } of ranges.toSorted((a, b) => Buffer.compare(a.gte, b.gte))) {
    const last = pieces.at(-1);
    let gap = 0;
    for (let table = tables[at]; table !== undefined; table = tables[++at]) {
      if (Buffer.compare(table.first, gte) >= 0) break;
      if (Buffer.compare(table.last, gte) < 0) gap += table.bytes;
    }
    if (
      last !== undefined &&
      ((gap <= GAP_BYTES && bytes < PIECE_BYTES) || Buffer.compare(gte, last.lt) <= 0)
    ) {
      bytes += gap;
      pieces[pieces.length - 1] = { gte: last.gte, lt: Buffer.compare(lt, last.lt) > 0 ? lt : last.lt };
    } else {
      bytes = 0;
      pieces.push({ gte, lt });
    }
    for (let table = tables[at]; table !== undefined; table = tables[++at]) {
      const piece = pieces.at(-1);
      if (piece === undefined || Buffer.compare(table.first, piece.lt) >= 0) break;
      if (bytes >= PIECE_BYTES && Buffer.compare(table.first, piece.gte) > 0) {
        pieces.splice(-1, 1, { gte: piece.gte, lt: table.first }, { gte: table.first, lt: piece.lt });
        bytes = 0;
      }
      bytes += table.bytes;
    }
  }
  return pieces;
}
