import { timeoutSignal } from "../types/timing.ts";
import type { QueueShard, QueueStatus } from "../types/queues.ts";
import type { TxId, TxOperation } from "../types/transaction.ts";
import { holds, lowestSpare, type QueueAccess, reasonWords, transactUntil } from "./queue-access.ts";

/** The maximum number of entries that one transaction moves. */
const MAX_MOVES = 256;

export type DrainAccess = Pick<QueueAccess, "transact" | "queue" | "openEntries">;

export interface DrainedShard {
  readonly queue: string;
  readonly shard: number;
  /** Who drains it, for people to read. */
  readonly as: string;
  readonly leaseMs: number;
  readonly signal: AbortSignal;
  /** Called once the shard's director, if any, is fenced off. */
  readonly onDrained?: () => void;
  /** Called with the number of entries moved so far, and the number still open. */
  readonly onProgress?: (moved: number, open: number) => void;
}

/**
 * Returns the shard of a queue that should be drained next; undefined if none should. It is the fullest one, of which at
 * least the part `drainAt` is finished: a full one, or one that is at least half full while no shard is spare. Otherwise,
 * shards that fill evenly would all be full at once, and none would have room for the open entries of the others. While
 * there is no such room, only a shard without open entries is drained.
 */
export function shardToDrain(
  { shards, spare, policy: { cap } }: QueueStatus,
  drainAt: number,
): number | undefined {
  if (shards.some(({ state }) => state === "draining")) return undefined;
  const active = shards.filter(({ state }) => state === "active").toSorted((a, b) => b.entries - a.entries);
  const roomIn = (others: readonly QueueShard[]): number =>
    others.reduce((sum, { entries }) => sum + Math.max(0, cap - entries), spare * cap);
  return active.find(({ shard, entries, open }) => {
    const room = roomIn(active.filter((one) => one.shard !== shard));
    const isFull = entries >= cap;
    const isLarge = isFull || (spare === 0 && 2 * entries >= cap && room > open);
    return isLarge && entries - open >= drainAt * entries && room >= open;
  })?.shard;
}

export type DrainResult =
  | { readonly retired: true; readonly moved: number }
  /** The shard is active again, or somebody else holds it. `because` is a sentence. */
  | { readonly retired: false; readonly moved: number; readonly because: string };

/**
 * Drains a shard: moves its open entries to active shards with room, and retires it. If there is no room, or the signal
 * is aborted, it releases the shard, which then takes entries again.
 */
export async function drainShard(access: DrainAccess, drained: DrainedShard): Promise<DrainResult> {
  const { queue, shard, as, signal } = drained;
  const begun = await transactUntil(access, [["drain", queue, shard, { as }]], signal);
  if (!begun.committed) return { retired: false, moved: 0, because: sentence(begun.reason) };
  drained.onDrained?.();
  const epoch = begun.duplicateOf ?? begun.txId;
  let moved = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const { entries } = await access.openEntries(
        { queue, shard, limit: MAX_MOVES, cursor: undefined },
        signal,
      );
      drained.onProgress?.(moved, entries.length);
      if (entries.length === 0) break;
      const status = await access.queue(queue, signal);
      const {
        shards,
        policy: { cap },
      } = status;
      const target = roomiest(shards, cap);
      if (target === undefined) {
        if (await activateSpare(access, drained, status)) continue;
        await release(access, drained, epoch);
        return { retired: false, moved, because: `No other shard of ${queue} has room.` };
      }
      const count = Math.min(entries.length, cap - target.entries);
      const moves = entries
        .slice(0, count)
        .map(({ name }): TxOperation => ["move", queue, `${shard}/${name}`, target.shard, { epoch, as }]);
      const ops: TxOperation[] = [...moves, ["renew", queue, shard, { epoch, as }]];
      const outcome = await transactUntil(access, ops, signal);
      if (outcome.committed) moved += count;
      else if (!(await holds(access, queue, { shard, epoch, as }, signal)))
        return { retired: false, moved, because: sentence(outcome.reason) };
    }
    const retired = await transactUntil(access, [["retire", queue, shard, { epoch, as }]], signal);
    if (retired.committed) return { retired: true, moved };
    return { retired: false, moved, because: sentence(retired.reason) };
  } catch (error) {
    if (!signal.aborted) throw error;
    await release(access, drained, epoch);
    return { retired: false, moved, because: "It was interrupted." };
  }
}

function roomiest(shards: readonly QueueShard[], cap: number): QueueShard | undefined {
  const [first] = shards
    .filter(({ state, entries }) => state === "active" && entries < cap)
    .toSorted((a, b) => a.entries - b.entries);
  return first;
}

/** Makes the lowest spare shard active, without a director. Returns false if there is none. */
async function activateSpare(
  access: DrainAccess,
  { queue, as, signal }: DrainedShard,
  status: QueueStatus,
): Promise<boolean> {
  const spare = lowestSpare(status);
  if (spare === undefined) return false;
  const claimed = await transactUntil(access, [["claim", queue, spare, { as }]], signal);
  const epoch = claimed.duplicateOf ?? claimed.txId;
  // If it was not committed, somebody else has claimed the shard, which is just as good.
  if (claimed.committed) await transactUntil(access, [["release", queue, spare, { epoch, as }]], signal);
  return true;
}

/** Releases the shard, even if the drain was aborted. If that fails, the lease ends by itself. */
async function release(
  access: DrainAccess,
  { queue, shard, as, leaseMs }: DrainedShard,
  epoch: TxId,
): Promise<void> {
  const inTime = timeoutSignal(Math.max(1, leaseMs));
  await transactUntil(access, [["release", queue, shard, { epoch, as }]], inTime).catch(() => undefined);
}

function sentence(reason: string | undefined): string {
  return `${reasonWords(reason)}.`;
}
