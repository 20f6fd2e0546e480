/** How far apart looks lie, in parts of the period: at random within, so that nodes do not look at one instant. */
const EARLIEST = 0.9;
const SPREAD = 0.2;
/** A node that just became ready looks soon, but nodes that start together not at one instant. */
const FIRST_LOOK_PART = 0.1;
const FIRST_LOOK_LIMIT_MS = 30_000;
/** While somebody uploads, looks come ten times as often: should that upload fail, the cluster waits no period for the next. */
const LEASED_PART = 0.1;
/** Stores that tell their time in whole seconds: earlier, the lease might still hold. */
const AFTER_LEASE_MS = 1_000;
/** The pause after the first failed round, and the longest, as a part of the period. */
const FIRST_RETRY_MS = 5_000;
const RETRY_PART = 0.25;
const LONGEST_LEASE_MS = 60_000;
const SHORTEST_LEASE_MS = 3_000;

/** How long after it became ready a node looks at the store first (ms). `random` is at least 0 and below 1. */
export function firstLookDelay(approxFrequency: number, random: number): number {
  return random * Math.min(approxFrequency * FIRST_LOOK_PART, FIRST_LOOK_LIMIT_MS);
}

/** What the next look depends on. Times in milliseconds since 1970, by the store's clock. */
export interface LookSituation {
  readonly approxFrequency: number;
  /** When the newest checkpoint of this log was taken; undefined when there is none. */
  readonly newestTakenAt: number | undefined;
  /** The store's clock now, which is the time of the look that just ended. */
  readonly storeNow: number;
  /** Somebody else was uploading: what becomes of it is known long before a period is over. */
  readonly leased?: boolean;
  /** How long the lease of an earlier life of this node still holds (ms), where that is what was met: nobody renews it. */
  readonly leftBehindFor?: number;
  readonly random: number;
}

/**
 * How long to wait until the next look (ms): until the newest checkpoint is 0.9 to 1.1 periods old, or, where that has
 * passed or there is none, as long after this look. With any number of nodes about one checkpoint a period is saved:
 * simulated 1.00 with one node, 1.07 with five, 1.11 with a hundred; the longest gap 1.10 periods.
 */
export function nextLookDelay(situation: LookSituation): number {
  const { approxFrequency, newestTakenAt, storeNow, leased = false, leftBehindFor, random } = situation;
  const interval = approxFrequency * (EARLIEST + SPREAD * random);
  if (leased) return Math.min(interval * LEASED_PART, afterLease(leftBehindFor));
  if (newestTakenAt === undefined) return interval;
  // One from the future counts as taken now: a clock that was wrong must not stop checkpoints until it is right.
  const due = Math.min(newestTakenAt, storeNow) + interval;
  return due > storeNow ? due - storeNow : interval;
}

function afterLease(left: number | undefined): number {
  return left === undefined ? Infinity : Math.max(0, left) + AFTER_LEASE_MS;
}

/**
 * How long to wait after a round failed (ms): longer each time, about a quarter of a period in the end, so that a store which was
 * away for long has a checkpoint soon after it is back. `failures` is at least 1.
 */
export function retryDelay(approxFrequency: number, failures: number, random: number): number {
  const backoff = FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20);
  const longest = Math.max(approxFrequency * RETRY_PART, Math.min(approxFrequency, FIRST_RETRY_MS));
  return Math.min(backoff, longest) * (EARLIEST + SPREAD * random);
}

/**
 * How long the lease of an upload holds without being renewed (ms). It is what a node that dies in the middle costs the cluster, so
 * at most half a period, but never so short that a busy machine loses it.
 */
export function leaseDuration(approxFrequency: number): number {
  return Math.min(LONGEST_LEASE_MS, Math.max(SHORTEST_LEASE_MS, approxFrequency / 2));
}

/**
 * For about how long an upload may rest because the node has other things to do (ms): a checkpoint is as old as its upload was long, and
 * nobody else begins one meanwhile. docs/checkpointing.md says how to choose a frequency for which this is enough.
 */
export function uploadTime(approxFrequency: number): number {
  return approxFrequency / 20;
}

/** Why a round saves nothing. */
export type SkipReason = "empty" | "unchanged" | "recent" | "leased";

/** What a round does, with why (a sentence). */
export type RoundDecision =
  | { readonly save: true; readonly because: string }
  | { readonly save: false; readonly reason: SkipReason; readonly because: string };

/** What a round's decision depends on. */
export interface RoundSituation {
  readonly approxFrequency: number;
  readonly refreshAfter?: number;
  /** Somebody asked for this round: how recent the newest checkpoint is does not matter. */
  readonly forced: boolean;
  /** The newest checkpoint of this log that can be restored. */
  readonly newest: { readonly txId: number; readonly takenAt: number } | undefined;
  /** The transaction that this node's index is at; undefined: it has none. */
  readonly txId: number | undefined;
  /** By the store's clock. */
  readonly storeNow: number;
}

/** Decides, before anything is copied, whether this round saves a checkpoint. */
export function decideRound(situation: RoundSituation): RoundDecision {
  const { approxFrequency, refreshAfter, forced, newest, txId, storeNow } = situation;
  if (txId === undefined) return skip("empty", "The index has no transactions yet.");
  if (newest === undefined) return { save: true, because: "There is no checkpoint yet." };
  const age = Math.max(0, storeNow - newest.takenAt);
  // The earliest instant at which anybody plans a look; a millisecond is what clocks and timers are off.
  if (!forced && age + 1 < approxFrequency * EARLIEST) {
    return skip("recent", `The newest checkpoint is only ${age} ms old.`);
  }
  if (txId > newest.txId)
    return { save: true, because: `The newest checkpoint is at transaction ${newest.txId}.` };
  if (refreshAfter !== undefined && age >= refreshAfter && txId === newest.txId) {
    return { save: true, because: `The newest checkpoint is ${age} ms old and is to be refreshed.` };
  }
  return skip("unchanged", `The newest checkpoint is at transaction ${newest.txId}, the index at ${txId}.`);
}

function skip(reason: SkipReason, because: string): RoundDecision {
  return { save: false, reason, because };
}
