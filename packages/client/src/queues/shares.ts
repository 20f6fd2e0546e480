import type { QueueShard, QueueStatus } from "../types/queues.ts";
import { lowestSpare } from "./queue-access.ts";

/** The maximum number of shards that a director claims at once. */
const MAX_CLAIMS = 16;

/** A director, as it decides about its share. */
export interface ShareHolder {
  readonly as: string;
  readonly held: ReadonlySet<number>;
  /** The maximum number of shards to hold. */
  readonly limit: number;
  /** Whether it may claim a spare shard. */
  readonly mayOpen: boolean;
  /** The time by the clock of the log (ms since 1970). */
  readonly now: number;
  /** From 0 to 1. Directors with different numbers begin with different shards, so few claim the same at once. */
  readonly random: number;
}

/** What a director does about its share of a queue's shards. */
export interface Share {
  /** The number of shards to hold. */
  readonly size: number;
  /** A shard is taken over if its last director has not given it back. */
  readonly claims: readonly { readonly shard: number; readonly isTakenOver: boolean }[];
}

/**
 * Returns a director's share, and the shards to claim now. The shards are divided evenly among the directors that hold
 * one; those that hold the most get one more if the division leaves a remainder. The claims are at most as many as the
 * director holds, so that directors which start together claim in turns. A director that finds none claims a spare shard,
 * so that the others see it.
 */
export function shareOf(status: QueueStatus, { as, held, limit, mayOpen, now, random }: ShareHolder): Share {
  const active = status.shards.filter(({ state }) => state !== "retiring");
  const isOthers = ({ shard, holder }: QueueShard): boolean =>
    holder !== null && !held.has(shard) && Date.parse(holder.until) > now;
  const counts = new Map([[as, held.size]]);
  for (const { holder } of active.filter(isOthers))
    if (holder !== null && holder.as !== as) counts.set(holder.as, (counts.get(holder.as) ?? 0) + 1);
  const before = [...counts].filter(
    ([name, count]) => count > held.size || (count === held.size && name < as),
  ).length;
  const even = Math.ceil((active.length - before) / counts.size);
  const size = Math.max(1, Math.min(limit, even));
  const free = active.filter((one) => !held.has(one.shard) && !isOthers(one));
  const first = Math.floor(random * free.length);
  const claims = [...free.slice(first), ...free.slice(0, first)]
    .slice(0, Math.max(0, Math.min(size - held.size, held.size || 1, MAX_CLAIMS)))
    .map(({ shard, holder }) => ({ shard, isTakenOver: holder !== null }));
  const spare = held.size === 0 && claims.length === 0 && mayOpen ? lowestSpare(status) : undefined;
  return { size, claims: spare === undefined ? claims : [{ shard: spare, isTakenOver: false }] };
}
