import { type CheckpointSource, isCurrentFormat } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { type CheckpointFiles, readCheckpoints, type StoredCheckpoint } from "../store/list-checkpoints.ts";

/** The result of a search for the newest checkpoint. */
export interface FoundNewest {
  readonly newest: StoredCheckpoint | undefined;
  /** Whether a newer one was skipped because it is known to be damaged. */
  readonly isNewerDamaged: boolean;
}

/** The result without a search. */
export const NOTHING_FOUND: FoundNewest = { newest: undefined, isNewerDamaged: false };

/** Returns the newest checkpoint of a log that, as far as is known, nodes with this source can restore. */
export async function findNewest(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  source: CheckpointSource,
  logId: string,
): Promise<FoundNewest> {
  let isNewerDamaged = false;
  for await (const found of readCheckpoints(store, listed)) {
    if ("error" in found || found.manifest.log.id !== logId) continue;
    if (!isCurrentFormat(source.format, found.manifest)) continue;
    // If a damaged checkpoint counted as the newest, it would not be replaced before the next write.
    if (found.damaged || source.isDamaged?.(found.name) === true) {
      isNewerDamaged = true;
      continue;
    }
    if (source.agrees === undefined || (await source.agrees(found.manifest, found.name)))
      return { newest: found, isNewerDamaged };
  }
  return { newest: undefined, isNewerDamaged };
}
