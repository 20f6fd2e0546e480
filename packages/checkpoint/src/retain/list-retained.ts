import type { CheckpointStore } from "../store/checkpoint-store.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import {
  type CheckpointListing,
  isKeyMissing,
  listCheckpoints,
  type SkippedCheckpoint,
} from "../store/list-checkpoints.ts";
import { readReservations } from "../store/reservations.ts";
import { readVerification, type Verification } from "../store/verification.ts";
import { decideOwn } from "./own-checkpoints.ts";
import { RESTORED } from "./prune.ts";
import type { RetentionDecision, RetentionPolicy } from "./retention.ts";

export interface RetainedOptions {
  readonly store: CheckpointStore;
  /** If absent, nothing is decided. `storeNow` (ms since 1970) is given, because reading it may write a file. */
  readonly own?:
    | { readonly logId: string; readonly policy: RetentionPolicy | undefined; readonly storeNow: number }
    | undefined;
  /** The format that nodes of this version can restore. */
  readonly format: NonNullable<CheckpointSource["format"]>;
}

export interface RetainedListing extends CheckpointListing {
  readonly verification: Verification | undefined;
  /** Whether the next sweep keeps it, and why; undefined if it belongs to another log. */
  readonly kept: Pick<RetentionDecision, "keep" | "because"> | undefined;
}

/**
 * Lists all logs' checkpoints, newest first, with what a sweep of this log would decide without consulting the log.
 * Reads every manifest once, and writes nothing. Throws `STORE_*`, and
 * `KEY_MISSING` if none can be read and keys are missing: an empty list would say that there are none.
 */
export async function listRetained(
  options: RetainedOptions,
): Promise<{ checkpoints: RetainedListing[]; skipped: readonly SkippedCheckpoint[] }> {
  const { store, own, format } = options;
  const { checkpoints: usable, skipped } = await listCheckpoints(store);
  const locked = skipped.find((one) => isKeyMissing(one, undefined));
  if (usable.length === 0 && locked !== undefined) throw locked.error;
  const decisions = await (own === undefined
    ? undefined
    : decideOwn({ store, format, logId: own.logId, policy: own.policy }, usable, own.storeNow));
  const { reserved } = await readReservations(store);
  const checkpoints: RetainedListing[] = [];
  for (const listing of usable) {
    const { name, verified } = listing;
    const decision = decisions?.get(name);
    const isRestored = decision?.keep === false && reserved.has(name);
    checkpoints.push({
      ...listing,
      verification: verified ? await readVerification(store, name, listing) : undefined,
      kept: isRestored
        ? { keep: true, because: RESTORED }
        : decision && { keep: decision.keep, because: decision.because },
    });
  }
  return { checkpoints, skipped };
}
