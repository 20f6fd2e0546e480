import type { CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { wrapped } from "@cairn/text";
import { BackupLog } from "./backup-log.ts";
import { coveredRanges, lastSegment, listBackup, type TxRange } from "./segments/segment-name.ts";

/** Of a log's backups in several stores, the one that reaches furthest. */
export interface FurthestBackup {
  readonly log: BackupLog;
  readonly store: CheckpointStore;
  readonly offset: number;
  readonly covered: readonly TxRange[];
  readonly last: TxId;
  /** When its newest segment was written, by the store's clock (ms since 1970). */
  readonly writtenAt: number;
  /** Returns the number and total size of the segments that hold transactions after `from`, through `upTo`. */
  readonly segments: (from: TxId, upTo: TxId) => { readonly count: number; readonly bytes: number };
}

/** Undefined if no store contains a backup of the log. Throws the error of an unusable segment, and those of the stores. */
export async function furthestBackup(
  stores: readonly CheckpointStore[],
  logId: string,
): Promise<FurthestBackup | undefined> {
  let furthest: { readonly store: CheckpointStore; readonly last: TxId } | undefined;
  for (const store of stores) {
    const last = lastSegment((await listBackup(store, logId)).segments)?.last;
    if (last !== undefined && last > (furthest?.last ?? 0)) furthest = { store, last };
  }
  if (furthest === undefined) return undefined;
  const { store, last } = furthest;
  const log = new BackupLog({ store, logId });
  const offset = await log.offset();
  if (offset === undefined) return undefined;
  const held = await log.segments();
  const segments: FurthestBackup["segments"] = (from, upTo) => {
    const read = held.filter((one) => one.last > from && one.first <= upTo);
    return { count: read.length, bytes: read.reduce((sum, { bytes }) => sum + bytes, 0) };
  };
  const writtenAt = held.reduce((newest, { modifiedAt }) => Math.max(newest, modifiedAt), 0);
  return { log, store, offset, covered: coveredRanges(held), last, writtenAt, segments };
}

/** Returns a store that does not list these segments, so that its backups are read as if they had holes there. */
export function withoutSegments(store: CheckpointStore, files: ReadonlySet<string>): CheckpointStore {
  return wrapped<CheckpointStore>(store, {
    list: async (prefix) => (await store.list(prefix)).filter(({ name }) => !files.has(name)),
  });
}
