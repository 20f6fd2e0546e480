import { backoffMs } from "../timing/backoff.ts";

/** The time between looks, as a part of the period: random within the spread, so that nodes do not look at the same moment. */
const EARLIEST = 0.9;
const SPREAD = 0.2;
/** A node that has just become ready looks soon, but nodes that start together do not look at the same moment. */
const FIRST_LOOK_PART = 0.1;
const MAX_FIRST_LOOK_MS = 30_000;
/** While another node uploads, looks are ten times as frequent: if that upload fails, the cluster does not wait a period for the next. */
const LEASED_PART = 0.1;
/** Some stores give their time in whole seconds: any earlier, the lease might still be valid. */
const AFTER_LEASE_MS = 1_000;
/** The pause after the first failed round, and the longest pause as a part of the period. */
const FIRST_RETRY_MS = 5_000;
const RETRY_PART = 0.25;

/** How long after becoming ready a node first looks at the store (ms). `random` is at least 0 and below 1. */
export function firstLookDelay(approxFrequency: number, random: number): number {
  return random * Math.min(approxFrequency * FIRST_LOOK_PART, MAX_FIRST_LOOK_MS);
}

/** What the next look depends on. Times are milliseconds since 1970 by the store's clock. */
export interface LookSituation {
  readonly approxFrequency: number;
  /** When the newest checkpoint of this log was taken; undefined if there is none. */
  readonly newestTakenAt: number | undefined;
  /** The time of the look that has just ended. */
  readonly storeNow: number;
  /** Another node was uploading; the result is known long before a period is over. */
  readonly leased?: boolean;
  /** How long the lease that an earlier process of this node left is still valid (ms), if that was found: no process renews it. */
  readonly leftBehindFor?: number;
  readonly random: number;
}

/**
 * How long to wait until the next look (ms): until the newest checkpoint is 0.9 to 1.1 periods old or, if it is already older or there is
 * none, as long after this look. Any number of nodes save about one checkpoint per period: simulated 1.00 with one node, 1.07 with five,
 * 1.11 with a hundred; the longest gap is 1.10 periods.
 */
export function nextLookDelay(situation: LookSituation): number {
  const { approxFrequency, newestTakenAt, storeNow, leased = false, leftBehindFor, random } = situation;
  const interval = approxFrequency * (EARLIEST + SPREAD * random);
  if (leased) return Math.min(interval * LEASED_PART, afterLease(leftBehindFor));
  if (newestTakenAt === undefined) return interval;
  // A time in the future counts as now: a wrong clock must not stop checkpoints until it is right.
  const due = Math.min(newestTakenAt, storeNow) + interval;
  return due > storeNow ? due - storeNow : interval;
}

function afterLease(left: number | undefined): number {
  return left === undefined ? Infinity : Math.max(0, left) + AFTER_LEASE_MS;
}

/**
 * How long to wait after a failed round (ms): longer each time, up to about a quarter of a period, so that a store that was away for long
 * has a checkpoint soon after it returns. `failures` is at least 1.
 */
export function retryDelay(approxFrequency: number, failures: number, random: number): number {
  const maxMs = Math.max(approxFrequency * RETRY_PART, Math.min(approxFrequency, FIRST_RETRY_MS));
  return backoffMs(failures - 1, { firstMs: FIRST_RETRY_MS, maxMs }) * (EARLIEST + SPREAD * random);
}

/**
 * About how long an upload may take in order to give way to the other work of the node (ms): when it ends, the checkpoint is that old, and
 * no other node begins one meanwhile. docs/checkpointing.md says how to choose a frequency for which this is enough.
 */
export function uploadTime(approxFrequency: number): number {
  return approxFrequency / 20;
}

/** Why a round saves nothing. */
export type SkipReason = "empty" | "unchanged" | "recent" | "leased";

/** What a round does, and why (a sentence). */
export type RoundDecision =
  | { readonly save: true; readonly because: string }
  | { readonly save: false; readonly reason: SkipReason; readonly because: string };

/** What a round's decision depends on. */
export interface RoundSituation {
  readonly approxFrequency: number;
  readonly refreshAfter?: number;
  /** The round was requested: it does not matter how recent the newest checkpoint is. */
  readonly forced: boolean;
  /** The newest checkpoint of this log that can be restored. */
  readonly newest: { readonly txId: number; readonly takenAt: number } | undefined;
  /** The last transaction of this node's index; undefined if it has none. */
  readonly txId: number | undefined;
  /** By the store's clock. */
  readonly storeNow: number;
}

/** Decides whether a round saves a checkpoint, before anything is copied. */
export function decideRound(situation: RoundSituation): RoundDecision {
  const { approxFrequency, refreshAfter, forced, newest, txId, storeNow } = situation;
  if (txId === undefined) return skip("empty", "The index has no transactions yet.");
  if (newest === undefined) return { save: true, because: "There is no checkpoint yet." };
  const age = Math.max(0, storeNow - newest.takenAt);
  // The earliest moment at which a node plans a look; clocks and timers may be off by a millisecond.
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
