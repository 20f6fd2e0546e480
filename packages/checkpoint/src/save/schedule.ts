import { backoffMs } from "@cairn/kv";

/** The shortest time between looks, and the range of the random time added to it, which spreads nodes (in periods). */
const EARLIEST = 0.9;
const SPREAD = 0.2;
/** The maximum delay of the first look, in periods. It is random, because nodes may start together. */
const FIRST_LOOK_PART = 0.1;
const MAX_FIRST_LOOK_MS = 30_000;
/** The bounds of the delay (ms) while there is no checkpoint: a log's first transactions must not wait a period. */
const FIRST_CHECKPOINT_MIN_MS = 60_000;
const FIRST_CHECKPOINT_MAX_MS = 300_000;
/** The factor while another node uploads: if that fails, the cluster need not wait a whole period for the next one. */
const LEASED_PART = 0.1;
/** The extra time to wait after a lease should have expired. Some stores report their time in whole seconds. */
const AFTER_LEASE_MS = 1_000;
/** The pause after the first failed round (ms), and the longest pause as a fraction of the period. */
const FIRST_RETRY_MS = 5_000;
const RETRY_PART = 0.25;

/** Returns the random delay of the first look (ms). `random` is at least 0 and below 1. */
export function firstLookDelay(approxFrequency: number, random: number): number {
  return random * Math.min(approxFrequency * FIRST_LOOK_PART, MAX_FIRST_LOOK_MS);
}

/** The facts on which the time of the next look depends. Times are milliseconds since 1970 by the store's clock. */
export interface LookSituation {
  readonly approxFrequency: number;
  readonly newestTakenAt: number | undefined;
  readonly storeNow: number;
  /** Whether another node was uploading. The outcome of its upload is known long before a period is over. */
  readonly leased?: boolean;
  /** How long the lease of that node is still valid unless it is renewed (ms); undefined if this is unknown. */
  readonly leasedFor?: number | undefined;
  readonly random: number;
}

/**
 * Returns the time until the next look (ms): until the newest checkpoint is 0.9 to 1.1 periods old or, if it is older,
 * such an interval. While there is none, one to five minutes, or such an interval if that is shorter. While another
 * node uploads, a tenth of an interval or, if sooner, until a random time soon after its lease expires, because it may
 * have died. In simulations, one node saves 1.00 checkpoints per period, five save 1.07, and a hundred 1.11; the
 * longest gap is 1.10 periods.
 */
export function nextLookDelay(situation: LookSituation): number {
  const { approxFrequency, newestTakenAt, storeNow, random } = situation;
  const { leased = false, leasedFor = Infinity } = situation;
  const interval = approxFrequency * (EARLIEST + SPREAD * random);
  if (leased) return Math.min(interval * LEASED_PART, Math.max(0, leasedFor) * (1 + random) + AFTER_LEASE_MS);
  if (newestTakenAt === undefined) {
    const spread = FIRST_CHECKPOINT_MAX_MS - FIRST_CHECKPOINT_MIN_MS;
    return Math.min(interval, FIRST_CHECKPOINT_MIN_MS + spread * random);
  }
  // Without this bound, a segment or checkpoint with a time in the future would delay the next one until that time. The
  // time of a checkpoint is already bounded by LookMemory.
  const due = Math.min(newestTakenAt, storeNow) + interval;
  return due > storeNow ? due - storeNow : interval;
}

/**
 * Returns whether the newest checkpoint or segment, of this age (ms), is so recent that no node saves another one yet.
 * No node schedules a look before this age is reached. Clocks and timers may be off by a millisecond.
 */
export function isTooSoon(approxFrequency: number, age: number): boolean {
  return age + 1 < approxFrequency * EARLIEST;
}

/**
 * Returns the time to wait after a failed round (ms). It grows up to about a quarter of a period, so that a store that
 * was unreachable for a long time has a checkpoint soon after it recovers. `failures` is at least 1.
 */
export function retryDelay(approxFrequency: number, failures: number, random: number): number {
  const maxMs = Math.max(approxFrequency * RETRY_PART, Math.min(approxFrequency, FIRST_RETRY_MS));
  return backoffMs(failures - 1, { firstMs: FIRST_RETRY_MS, maxMs }) * (EARLIEST + SPREAD * random);
}

/**
 * Returns how long an upload may take while it yields to other work (ms): when it ends, the checkpoint is that old, and
 * no other has begun. docs/checkpointing.md explains which frequencies suffice.
 */
export function uploadTime(approxFrequency: number): number {
  return approxFrequency / 20;
}

export type SkipReason = "empty" | "unchanged" | "recent" | "leased";

/** A round's decision. `because` gives the reason as a sentence. */
export type RoundDecision =
  | { readonly save: true; readonly because: string }
  | { readonly save: false; readonly reason: SkipReason; readonly because: string };

export interface RoundSituation {
  readonly approxFrequency: number;
  readonly refreshAfter?: number | undefined;
  /** Whether the round was requested, in which case the age of the newest checkpoint does not matter. */
  readonly forced: boolean;
  readonly newest: { readonly txId: number; readonly takenAt: number } | undefined;
  /** The last transaction of this node's index; undefined if it has none. */
  readonly txId: number | undefined;
  readonly storeNow: number;
}

/** Decides whether a round saves a checkpoint, before anything is copied. */
export function decideRound(situation: RoundSituation): RoundDecision {
  const { approxFrequency, refreshAfter, forced, newest, txId, storeNow } = situation;
  if (txId === undefined) return skip("empty", "The index has no transactions yet.");
  if (newest === undefined) return { save: true, because: "There is no checkpoint yet." };
  const age = Math.max(0, storeNow - newest.takenAt);
  if (!forced && isTooSoon(approxFrequency, age)) {
    return skip("recent", `The newest checkpoint is only ${age} ms old.`);
  }
  if (refreshAfter !== undefined && age >= refreshAfter && txId >= newest.txId) {
    return { save: true, because: `The newest checkpoint is ${age} ms old and due for a refresh.` };
  }
  if (txId > newest.txId) {
    return { save: true, because: `The newest checkpoint is at transaction ${newest.txId}.` };
  }
  return skip("unchanged", `The newest checkpoint is at transaction ${newest.txId}, the index at ${txId}.`);
}

function skip(reason: SkipReason, because: string): RoundDecision {
  return { save: false, reason, because };
}
