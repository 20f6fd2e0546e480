import { CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { newestFirst } from "../store/checkpoint.ts";
import {
  checkpointFiles,
  type CheckpointFiles,
  isKeyMissing,
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
  /** Called with each checkpoint that cannot be used, and its store. */
  readonly onSkipped?: (skipped: SkippedCheckpoint, store: CheckpointStore) => void;
  /** Called with each unreadable store and its error, unless all stores are unreadable. */
  readonly onUnreachable?: (store: CheckpointStore, error: CairnError) => void;
  /** Once this is aborted, its reason is thrown immediately, without waiting for a store. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Yields the checkpoints of `stores`, newest first, and equal ones in the order of the stores. Manifests are read on
 * demand. A store that fails is reported and skipped, but a resource shortage in this process (`SYSTEM_REFUSED`) is
 * thrown. If all stores fail, the first error (`STORE_*`) is thrown, so that unreachable stores never appear to be
 * empty.
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
  listed.sort((a, b) => newestFirst(a.files.parsed, b.files.parsed) || a.rank - b.rank);
  for (const { files, store } of listed) {
    if (lost.has(store)) continue;
    try {
      for await (const found of readCheckpoints(store, [files], options.signal)) {
        if ("error" in found) {
          // An older checkpoint would hide that this node lacks the keys of its cluster.
          if (isKeyMissing(found, options.logId)) throw found.error;
          options.onSkipped?.(found, store);
          continue;
        }
        const { name, manifest } = found;
        if (options.logId === undefined || manifest.log.id === options.logId) {
          yield { ...found, store };
          continue;
        }
        const message = `${name} belongs to the log ${manifest.log.name} (${manifest.log.id}).`;
        const hint =
          "If the clusters should not share a store, give each one its own. The checkpoint is left untouched.";
        const error = new CairnError("LOG_DIFFERENT", message, { hint });
        options.onSkipped?.({ name, store: store.location, error }, store);
      }
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE")) throw error;
      lost.add(store);
      options.onUnreachable?.(store, error);
    }
  }
}
