import { isCairnError } from "@cairn/kv";
import { describeHolder, type HeldLease } from "../store/lease-record.ts";
import {
  checkpointFiles,
  findNewest,
  NOTHING_FOUND,
  type StoredCheckpoint,
} from "../store/list-checkpoints.ts";
import { systemClock } from "../timing/clock.ts";
import { acquireLease, leaseDuration } from "./lease.ts";
import { saveCheckpoint, type TakeOptions } from "./save-checkpoint.ts";
import { decideRound, type RoundSituation, type SkipReason } from "./schedule.ts";

interface Look {
  readonly newest: StoredCheckpoint | undefined;
  /** The time at which `newest` counts as taken, by the store's clock. With a memory, it is never after `storeNow`. */
  readonly takenAt: number | undefined;
  readonly storeNow: number;
  readonly storeAhead: number;
}

/** The result of a look that found that a checkpoint of this log is due. */
type Due = Look & { readonly logId: string };

/**
 * The result of a round. `newest` is this log's newest checkpoint as far as the round knows, `storeNow` is the store's
 * time at the look, and `storeAhead` is how far the store's clock is ahead of this machine's (ms).
 */
export type TakeOutcome = Look &
  (
    | { readonly outcome: "taken"; readonly checkpoint: StoredCheckpoint }
    | {
        readonly outcome: "skipped";
        readonly reason: SkipReason;
        readonly because: string;
        /** Present if another node's lease is the reason, unless the lease was acquired or released in the meantime. */
        readonly lease?: HeldLease | undefined;
      }
  );

/**
 * Runs one round: looks at the store and decides, takes the lease if a checkpoint is due, looks again, and captures,
 * uploads and publishes. After an error, nothing new is listed. Sweeping is a separate step, so that its failure cannot
 * affect the saved checkpoint.
 */
export async function takeCheckpoint(take: TakeOptions): Promise<TakeOutcome> {
  take.onStep?.("looking", 0);
  const before = await look(take);
  if ("outcome" in before) return before;
  try {
    return await takeDue(take, before);
  } catch (error) {
    if (!isCairnError(error, "STORE_FULL") || (await take.makeRoom?.(before.logId)) !== true) throw error;
  }
  return takeDue(take, before);
}

async function takeDue(take: TakeOptions, before: Due): Promise<TakeOutcome> {
  const { source, options, clock = systemClock, memory, signal } = take;
  signal?.throwIfAborted();
  let held: HeldLease | undefined;
  const lease = await acquireLease(options.store, {
    owner: source.node,
    logId: before.logId,
    ttlMs: take.leaseMs ?? leaseDuration(options.approxFrequency),
    clock,
    signal,
    onHeld({ owner, progress: { bytes }, since = null, expiresAt }) {
      held = { owner, bytes, since, expiresAt };
    },
  });
  if (lease === undefined)
    return { ...before, outcome: "skipped", reason: "leased", because: describeHolder(held), lease: held };
  try {
    // Another node may have saved a checkpoint after the first look and before this node acquired the lease.
    const now = await look(take);
    if ("outcome" in now) return now;
    const stop = signal === undefined ? lease.lost : AbortSignal.any([signal, lease.lost]);
    const checkpoint = await saveCheckpoint(take, lease, stop);
    memory?.saved(checkpoint);
    const takenAt = Date.parse(checkpoint.manifest.takenAt);
    return { ...now, newest: checkpoint, takenAt, outcome: "taken", checkpoint };
  } finally {
    await lease.release();
  }
}

/** Looks at the store. Returns an outcome if there is a reason to save nothing. */
async function look(take: TakeOptions): Promise<Due | TakeOutcome> {
  const { source, options, forced = false, clock = systemClock } = take;
  const { store, approxFrequency, refreshAfter } = options;
  const position = await source.position();
  const listed = position === undefined ? [] : await checkpointFiles(store);
  const { newest, isNewerDamaged } =
    position === undefined ? NOTHING_FOUND : await findNewest(store, listed, source, position.logId);
  const storeNow = await store.now();
  const storeAhead = storeNow - clock.now();
  const takenAt =
    newest === undefined
      ? undefined
      : (take.memory?.takenAt(newest, storeNow) ?? Date.parse(newest.manifest.takenAt));
  await take.memory?.sawStore({ store, listed, newest, logId: position?.logId, storeNow });
  const decision = decideRound({
    approxFrequency,
    refreshAfter,
    forced,
    newest:
      newest === undefined || takenAt === undefined ? undefined : { txId: newest.manifest.txId, takenAt },
    isNewerDamaged,
    tail: await tailAfter(take, newest, position?.txId),
    txId: position?.txId,
    storeNow,
  });
  const seen = { newest, takenAt, storeNow, storeAhead };
  if (decision.save && position !== undefined) return { ...seen, logId: position.logId };
  const reason = decision.save ? "unchanged" : decision.reason;
  return { ...seen, outcome: "skipped", reason, because: decision.because };
}

/** Estimates the replay time after the newest checkpoint, if the decision may depend on a replay budget. */
async function tailAfter(
  { source, options: { replayBudget: budgetMs }, forced }: TakeOptions,
  newest: StoredCheckpoint | undefined,
  txId = 0,
): Promise<RoundSituation["tail"]> {
  if (budgetMs === undefined || forced === true || newest === undefined || txId <= newest.manifest.txId)
    return undefined;
  const replayMs = await source.replayTimeMs?.(newest.manifest);
  return replayMs === undefined ? undefined : { replayMs, budgetMs };
}
