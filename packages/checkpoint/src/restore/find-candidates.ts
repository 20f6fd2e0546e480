import { CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { newestFirst } from "../store/checkpoint-name.ts";
import { checkpointFiles, readCheckpoints } from "../store/list-checkpoints.ts";
import type { CheckpointFiles, SkippedCheckpoint, StoredCheckpoint } from "../store/list-checkpoints.ts";

/** A checkpoint that could be restored, and where it lies. */
export interface Candidate extends StoredCheckpoint {
  readonly store: CheckpointStore;
}

/** A store that could not be asked, and why. */
export interface UnreachableStore {
  readonly store: CheckpointStore;
  readonly error: CairnError;
}

/** Where candidates come from. */
export interface FindOptions {
  /** Only this log's; of every log when left out. */
  readonly logId?: string;
  /** Only the one of this name: no manifest of another is read. */
  readonly name?: string;
  /** Hears of checkpoints that cannot be used, and in which store they lie. */
  readonly onSkipped?: (skipped: SkippedCheckpoint, store: CheckpointStore) => void;
  /** Hears of a store that cannot be asked, unless none can. */
  readonly onUnreachable?: (unreachable: UnreachableStore) => void;
  /** Aborted, its reason is thrown, whatever a store is doing. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The checkpoints in `stores`, newest first across all of them; of equal ones the earlier store's first. Manifests are read
 * as they are asked for. A store that fails is reported and left out; when all fail, its error (`STORE_*`) is thrown, so
 * that stores which cannot be reached never look like empty ones.
 */
export async function* findCandidates(
  stores: readonly CheckpointStore[],
  options: FindOptions = {},
): AsyncGenerator<Candidate, void, undefined> {
  const listed: { files: CheckpointFiles; store: CheckpointStore; rank: number }[] = [];
  const unreachable: UnreachableStore[] = [];
  for (const [rank, store] of stores.entries()) {
    try {
      for (const files of await checkpointFiles(store, options.signal)) {
        if (options.name === undefined || options.name === files.name) listed.push({ files, store, rank });
      }
    } catch (error) {
      // What this process has run out of says nothing about the store, and the next one would fare no better.
      if (!isCairnError(error) || error.code === "SYSTEM_REFUSED") throw error;
      unreachable.push({ store, error });
    }
  }
  const [first] = unreachable;
  if (first !== undefined && unreachable.length === stores.length) throw first.error;
  for (const one of unreachable) options.onUnreachable?.(one);

  // Stores that broke off after they had been listed: asking for each of their manifests would take a timeout a time.
  const lost = new Set<CheckpointStore>();
  for (const { files, store } of listed.toSorted(
    (a, b) => newestFirst(a.files.parsed, b.files.parsed) || a.rank - b.rank,
  )) {
    if (lost.has(store)) continue;
    try {
      for await (const found of readCheckpoints(store, [files], options.signal)) {
        if ("error" in found) options.onSkipped?.(found, store);
        else if (options.logId === undefined || found.manifest.log.id === options.logId)
          yield { ...found, store };
        else options.onSkipped?.({ name: found.name, store: store.location, error: otherLog(found) }, store);
      }
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE")) throw error;
      lost.add(store);
      options.onUnreachable?.({ store, error });
    }
  }
}

function otherLog({ name, manifest }: StoredCheckpoint): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `${name} belongs to the log ${manifest.log.name} (${manifest.log.id}).`,
    {
      hint: "It is left alone. If the clusters should not share a store, give each its own.",
    },
  );
}
