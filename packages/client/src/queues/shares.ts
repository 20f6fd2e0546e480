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
  /** The other directors that want no more shards than they have. */
  readonly satisfied: ReadonlySet<string>;
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
  /** The number of shards of each other director. */
  readonly others: ReadonlyMap<string, number>;
  /** Whether no director has claimed some shards, although this one has its share. */
  readonly hasUnclaimed: boolean;
}

/** Returns whether a program holds a shard, and its lease has not ended. */
export function isHeldNow({ holder }: QueueShard, now: number): boolean {
  return holder !== null && Date.parse(holder.until) > now;
}

/**
 * Returns a director's share, and the shards to claim now. The shards are divided evenly among the directors that hold
 * one, except those that want no more; those that hold the most get one more if the division leaves a remainder. The
 * claims are at most as many as the director holds, so that directors which start together claim in turns. A director
 * that finds none claims a spare shard, so that the others see it.
 */
export function shareOf(
  status: QueueStatus,
  { as, held, limit, satisfied, mayOpen, now, random }: ShareHolder,
): Share {
  const active = status.shards.filter(({ state }) => state !== "retiring");
  const isOthers = (one: QueueShard): boolean => !held.has(one.shard) && isHeldNow(one, now);
  const others = new Map<string, number>();
  for (const { holder } of active.filter(isOthers))
    if (holder !== null && holder.as !== as) others.set(holder.as, (others.get(holder.as) ?? 0) + 1);
  const sharing = [...others].filter(([name]) => !satisfied.has(name));
  const shared = active.filter((one) => !(isOthers(one) && satisfied.has(one.holder?.as ?? "")));
  const before = sharing.filter(
    ([name, count]) => count > held.size || (count === held.size && name < as),
  ).length;
  const even = Math.ceil((shared.length - before) / (sharing.length + 1));
  const size = Math.max(1, Math.min(limit, even));
  const free = active.filter((one) => !held.has(one.shard) && !isOthers(one));
  const first = Math.floor(random * free.length);
  const claims = [...free.slice(first), ...free.slice(0, first)]
    .slice(0, Math.max(0, Math.min(size - held.size, held.size || 1, MAX_CLAIMS)))
    .map(({ shard, holder }) => ({ shard, isTakenOver: holder !== null }));
  const spare = held.size === 0 && claims.length === 0 && mayOpen ? lowestSpare(status) : undefined;
  return {
    size,
    claims: spare === undefined ? claims : [{ shard: spare, isTakenOver: false }],
    others,
    hasUnclaimed: free.length > 0 && held.size >= size,
  };
}

/**
 * Finds out which other directors want no more shards than they have, because of their own limit: those that claim none
 * for a whole lease, within which they have looked at the queue, although some shards have no director.
 */
export class SatisfiedDirectors {
  readonly names = new Set<string>();
  readonly #seen = new Map<string, { readonly count: number; readonly since: number }>();

  note({ others, hasUnclaimed }: Pick<Share, "others" | "hasUnclaimed">, now: number, leaseMs: number): void {
    for (const [name, { count }] of this.#seen) {
      const held = others.get(name) ?? 0;
      if (held === 0 || held > count) this.names.delete(name);
      else if (hasUnclaimed || this.names.has(name)) continue;
      this.#seen.delete(name);
    }
    if (!hasUnclaimed) return;
    for (const [name, count] of others) {
      const seen = this.#seen.get(name);
      if (seen === undefined) this.#seen.set(name, { count, since: now });
      else if (now - seen.since > leaseMs) this.names.add(name);
    }
  }
}
