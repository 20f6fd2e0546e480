import { isCairnError, systemClock } from "@cairn/kv";
import type { OtherLook } from "../store/checkpoint-source.ts";
import { describeHolder, type HeldLease } from "../store/lease-record.ts";
import { checkpointFiles, findNewest, type StoredCheckpoint } from "../store/list-checkpoints.ts";
import type { CheckpointerWarning } from "./checkpointer-events.ts";
import { acquireLease, leaseDuration } from "./lease.ts";
import { storeComparison } from "./compare-stores.ts";
import { saveCheckpoint, type SaveOptions } from "./save-checkpoint.ts";
import { decideRound, type SkipReason } from "./schedule.ts";

export interface TakeOptions extends SaveOptions {
  /** Whether to save even if the newest checkpoint is recent, unless nothing changed or another node is uploading. */
  readonly forced?: boolean;
  /** How long the lease is valid without being renewed (ms). Defaults to a time that suits `approxFrequency`. */
  readonly leaseMs?: number;
  readonly memory?: LookMemory;
  /** Called with what each look finds, also if the checkpoint then fails. */
  readonly onLook?: (look: Look) => void;
  /** Called if the store is full. Returns whether to try once more, because space may have been freed. */
  readonly makeRoom?: (logId: string) => Promise<boolean>;
}

export interface Look {
  readonly newest: StoredCheckpoint | undefined;
  /** The time at which `newest` counts as taken, by the store's clock. With a memory, it is never after `storeNow`. */
  readonly takenAt: number | undefined;
  readonly storeNow: number;
  readonly storeAhead: number;
  /** The looks of the nodes that proved to have another store. */
  readonly otherStores: readonly OtherLook[];
}

/** The result of a look that found that a checkpoint of this log is due. */
type Due = Look & { readonly logId: string };

/** `newest` is this log's newest known checkpoint, `storeAhead` by how much the store's clock is ahead (ms). */
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
 * Runs one round. After an error, nothing new is listed. Sweeping is separate, so that its failure cannot affect the
 * saved checkpoint.
 */
export async function takeCheckpoint(take: TakeOptions): Promise<TakeOutcome> {
  take.onStep?.("looking", 0);
  // A process that is ending does not wait for other nodes.
  const others = take.hurry?.aborted === true ? [] : ((await take.source.otherLooks?.()) ?? []);
  const before = await look(take, others);
  if ("outcome" in before) return before;
  try {
    return await takeDue(take, before, others);
  } catch (error) {
    if (!isCairnError(error, "STORE_FULL") || (await take.makeRoom?.(before.logId)) !== true) throw error;
  }
  return takeDue(take, before, others);
}

async function takeDue(take: TakeOptions, before: Due, others: readonly OtherLook[]): Promise<TakeOutcome> {
  const { source, options, clock = systemClock, signal } = take;
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
    const now = await look(take, others);
    if ("outcome" in now) return now;
    const stop = signal === undefined ? lease.lost : AbortSignal.any([signal, lease.lost]);
    const checkpoint = await saveCheckpoint(take, lease, stop);
    const takenAt = Date.parse(checkpoint.manifest.takenAt);
    return { ...now, newest: checkpoint, takenAt, outcome: "taken", checkpoint };
  } finally {
    await lease.release();
  }
}

/** Looks at the store. Returns an outcome if there is a reason to save nothing. */
async function look(take: TakeOptions, others: readonly OtherLook[]): Promise<Due | TakeOutcome> {
  const { source, options, forced = false, clock = systemClock } = take;
  const { store, approxFrequency, refreshAfter } = options;
  const position = await source.position();
  const listed = position === undefined ? [] : await checkpointFiles(store);
  const newest = position === undefined ? undefined : await findNewest(store, listed, source, position.logId);
  const askedAt = clock.now();
  const storeNow = await store.now();
  // While the request is under way, the store's clock may have any of these times.
  const storeAhead = storeNow - Math.max(askedAt, Math.min(storeNow, clock.now()));
  const takenAt =
    newest === undefined
      ? undefined
      : (take.memory?.takenAt(newest, storeNow) ?? Date.parse(newest.manifest.takenAt));
  // Nothing is listed for an index that is not there yet.
  const otherStores = position === undefined ? [] : (take.memory?.compareStores(others, listed) ?? []);
  const decision = decideRound({
    approxFrequency,
    refreshAfter,
    forced,
    newest:
      newest === undefined || takenAt === undefined ? undefined : { txId: newest.manifest.txId, takenAt },
    txId: position?.txId,
    storeNow,
  });
  const seen = { newest, takenAt, storeNow, storeAhead, otherStores };
  take.onLook?.(seen);
  if (decision.save && position !== undefined) return { ...seen, logId: position.logId };
  const reason = decision.save ? "unchanged" : decision.reason;
  return { ...seen, outcome: "skipped", reason, because: decision.because };
}

/** The age from which a checkpoint is expected in every list of the store (in periods). */
const LISTED_AFTER = 0.1;

/** The maximum clock difference that is ignored (ms). Some stores report their time in whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000;

export type LookMemory = ReturnType<typeof lookMemory>;

/** What a checkpointer remembers between looks, of which each repeats its warnings. Times are by the store's clock (ms). */
export function lookMemory(approxFrequency: number, onWarning: (warning: CheckpointerWarning) => void) {
  // The newest checkpoint if its recorded time is in the future, and the store's time when it was first seen.
  let future: { readonly name: string; readonly seenAt: number } | undefined;

  return {
    /**
     * Returns when the newest checkpoint counts as taken: the recorded time or, if that is in the future, the time at
     * which it was first seen, because no node would save another one until the recorded time.
     */
    takenAt({ name, manifest }: StoredCheckpoint, storeNow: number): number {
      const takenAt = Date.parse(manifest.takenAt);
      if (takenAt <= storeNow) return takenAt;
      if (future?.name !== name) future = { name, seenAt: storeNow };
      if (takenAt - storeNow > CLOCK_TOLERANCE_MS)
        onWarning({
          about: "future-checkpoint",
          message: `${name} was taken ${Math.round((takenAt - storeNow) / 1000)} s after the store's current time, according to its manifest. It counts as taken when it was first seen.`,
          hint: "Check the store's clock, which was wrong then or is wrong now, unless the file comes from another store. Checkpoints continue as usual.",
        });
      return Math.min(future.seenAt, storeNow);
    },
    compareStores: storeComparison(approxFrequency * LISTED_AFTER),
  };
}
