import {
  type CheckpointListing,
  type CheckpointStore,
  findCandidates,
  type FindOptions,
  listingOf,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import { judgeFormat } from "./accept-checkpoint.ts";

export interface CandidateCheckpoint extends CheckpointListing {
  readonly store: string;
}

/** The checkpoints with which an index can begin, best first, and all others with the reason why none can. */
export interface Candidates {
  readonly usable: readonly CandidateCheckpoint[];
  readonly skipped: readonly SkippedCheckpoint[];
}

interface CandidateOptions extends Pick<FindOptions, "onRead"> {
  /** The format of the indexes that can be used. Defaults to all. */
  readonly kvFormat?: string;
  /** Checkpoints that turned out to be unusable, with the reasons. */
  readonly found?: ReadonlyMap<string, CairnError> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Lists all candidates, as {@link findCandidates} does for a join. Throws if a store cannot be read, because another
 * checkpoint may be in it.
 */
export async function listCandidates(
  stores: readonly CheckpointStore[],
  { kvFormat, found, signal, onRead }: CandidateOptions,
): Promise<Candidates> {
  const usable: CandidateCheckpoint[] = [];
  const skipped: SkippedCheckpoint[] = [];
  for await (const { store, ...checkpoint } of findCandidates(stores, {
    signal,
    onRead,
    onSkipped: (one) => void skipped.push(one),
    onUnreachable: (_, error) => {
      throw error;
    },
  })) {
    const { name, manifest } = checkpoint;
    // The reason was reported before.
    if (checkpoint.damaged || usable.some((one) => one.name === name)) continue;
    const error = found?.get(name) ?? (kvFormat === undefined ? undefined : judgeFormat(manifest, kvFormat));
    const { id: logId, name: logName } = manifest.log;
    if (error === undefined) usable.push({ ...listingOf(checkpoint), store: store.location });
    else skipped.push({ name, store: store.location, error, logId, logName });
  }
  return { usable, skipped };
}
