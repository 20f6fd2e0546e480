import { CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { newestFirst } from "../store/checkpoint.ts";
import {
  checkpointFiles,
  type CheckpointFiles,
  readCheckpoints,
  type SkippedCheckpoint,
  type StoredCheckpoint,
} from "../store/list-checkpoints.ts";

export interface Candidate extends StoredCheckpoint {
  readonly store: CheckpointStore;
}

export interface FindOptions {
  /** If it is given, only checkpoints of this log are found. Defaults to all logs. */
  readonly logId?: string | undefined;
  /** If it is given, only the checkpoint of this name is found, and no other manifest is read. */
  readonly name?: string | undefined;
  /** Called with each checkpoint that cannot be used or is marked as damaged, and its store. */
  readonly onSkipped?: (skipped: SkippedCheckpoint, store: CheckpointStore) => void;
  /** Called with each unreadable store and its error, unless all stores are unreadable. */
  readonly onUnreachable?: (store: CheckpointStore, error: CairnError) => void;
  /** Once this is aborted, its reason is thrown immediately, without waiting for a store. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The only search for checkpoints to continue from. Yields those of `stores`, best first: the newest one, and of equal
 * ones that of the first store. One that is marked as damaged is reported in its turn, and yielded after all others,
 * because the mark may be wrong. Manifests are read on demand. A store that fails is reported and skipped, but a
 * resource shortage in this process (`SYSTEM_REFUSED`) is thrown. If all stores fail, the first error (`STORE_*`) is
 * thrown, so that unreachable stores never appear to be empty.
 */
export async function* findCandidates(
  stores: readonly CheckpointStore[],
  options: FindOptions = {},
): AsyncGenerator<Candidate, void, undefined> {
  const listed: { files: CheckpointFiles; store: CheckpointStore; rank: number }[] = [];
  const unreachable: [CheckpointStore, CairnError][] = [];
  for (const [rank, store] of stores.entries()) {
    try {
      for (const files of await checkpointFiles(store, options.signal)) {
        if (options.name === undefined || options.name === files.name) listed.push({ files, store, rank });
      }
    } catch (error) {
      // A resource shortage in this process is not a failure of the store, and would affect the next store as well.
      if (!isCairnError(error) || error.code === "SYSTEM_REFUSED") throw error;
      unreachable.push([store, error]);
    }
  }
  const [first] = unreachable;
  if (first !== undefined && unreachable.length === stores.length) throw first[1];
  for (const [store, error] of unreachable) options.onUnreachable?.(store, error);

  // Stores that failed after they were listed. Reading another manifest from one of them would probably end in
  // another timeout.
  const lost = new Set<CheckpointStore>();
  const marked: Candidate[] = [];
  listed.sort((a, b) => newestFirst(a.files.parsed, b.files.parsed) || a.rank - b.rank);
  for (const { files, store } of listed) {
    if (lost.has(store)) continue;
    try {
      for await (const found of readCheckpoints(store, [files], options.signal)) {
        if ("error" in found) {
          options.onSkipped?.(found, store);
          continue;
        }
        const { name, manifest, damaged } = found;
        const { id: logId, name: logName } = manifest.log;
        const isOther = options.logId !== undefined && logId !== options.logId;
        if (!isOther && (!damaged || options.name !== undefined)) {
          yield { ...found, store };
          continue;
        }
        if (!isOther) marked.push({ ...found, store });
        const error = isOther
          ? new CairnError("LOG_DIFFERENT", `${name} belongs to the log ${logName} (${logId}).`, {
              hint: "If the clusters should not share a store, give each one its own. The checkpoint is left untouched.",
            })
          : new CairnError("CHECKPOINT_CORRUPT", `${name} is marked as damaged.`, {
              hint: "An older one is used instead. If its files have been restored, run cairn checkpoint verify for it.",
            });
        options.onSkipped?.({ name, store: store.location, error, logId, logName }, store);
      }
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE")) throw error;
      lost.add(store);
      options.onUnreachable?.(store, error);
    }
  }
  for (const candidate of marked) if (!lost.has(candidate.store)) yield candidate;
}
