import type { CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { wrapped } from "@cairn/text";
import { BackupLog } from "./backup-log.ts";
import { coveredRanges, listBackup, type TxRange } from "./segments/segment-name.ts";

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
  let found: Omit<FurthestBackup, "log" | "offset"> | undefined;
  for (const store of stores) {
    const { segments } = await listBackup(store, logId);
    const covered = coveredRanges(segments);
    const last = covered.at(-1)?.last;
    if (last === undefined || (found !== undefined && last <= found.last)) continue;
    found = {
      store,
      covered,
      last,
      writtenAt: segments.reduce((newest, { modifiedAt }) => Math.max(newest, modifiedAt), 0),
      segments: (from, upTo) => {
        const read = segments.filter((one) => one.last > from && one.first <= upTo);
        return { count: read.length, bytes: read.reduce((sum, { bytes }) => sum + bytes, 0) };
      },
    };
  }
  if (found === undefined) return undefined;
  const log = new BackupLog({ store: found.store, logId });
  const offset = await log.offset();
  return offset === undefined ? undefined : { ...found, log, offset };
}

/** Returns a store that does not list these segments, so that its backups are read as if they had holes there. */
export function withoutSegments(store: CheckpointStore, files: ReadonlySet<string>): CheckpointStore {
  return wrapped<CheckpointStore>(store, {
    list: async (prefix) => (await store.list(prefix)).filter(({ name }) => !files.has(name)),
  });
}
