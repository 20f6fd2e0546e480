import { timeoutSignal } from "../types/timing.ts";
import type { QueueShard, QueueStatus } from "../types/queues.ts";
import type { AnyOperation } from "../types/transaction.ts";
import { isHeldNow } from "./shares.ts";
import {
  type Hold,
  isHeld,
  lowestSpare,
  type QueueAccess,
  reasonWords,
  takeHold,
  transactUntil,
  updateHold,
  withHold,
} from "./queue-access.ts";

const MAX_MOVES = 256;

export type DrainAccess = Pick<QueueAccess, "transact" | "queue" | "openEntries">;

/** The shard to drain, and the name of its drainer, for people to read. */
export interface DrainedShard extends Omit<Hold, "epoch"> {
  readonly leaseMs: number;
  readonly signal: AbortSignal;
  /** Called once the shard's director, if any, is fenced off. */
  readonly onDrained?: () => void;
  /** Called with the number of entries moved so far, and the number still open. */
  readonly onProgress?: (moved: number, open: number) => void;
}

export interface DrainRule {
  /** The finished part of a shard from which on it is drained. */
  readonly drainAt: number;
  /** The time by the clock of the log (ms since 1970). */
  readonly now: number;
  /** See `ShareHolder`. */
  readonly satisfied: ReadonlySet<string>;
}

/**
 * Returns the shard of a queue that should be drained next; undefined if none should. It is the fullest one of which at
 * least the part `drainAt` is finished: a full one or, while the queue is at least half full, one that is half full.
 * Otherwise, shards that fill evenly would all be full at once, and none would have room for the open entries of the
 * others. While there is no such room, only a shard without open entries is drained. A shard whose drainer's lease has
 * ended counts as active, which it becomes when another drain begins.
 *
 * While no shard is spare or becomes so, another director could not show itself by claiming one. So, once the directors
 * have their shares, the emptiest shard is drained whose director has another one, if there is room for many more entries
 * than it contains. It often is the one by whose claim a director has shown itself, and still empty.
 */
export function shardToDrain(
  { shards, spare, policy }: QueueStatus,
  { drainAt, now, satisfied }: DrainRule,
): QueueShard | undefined {
  const { cap } = policy;
  if (shards.some((one) => one.state === "draining" && isHeldNow(one, now))) return undefined;
  const active = shards.filter(({ state }) => state !== "retiring").toSorted((a, b) => b.entries - a.entries);
  const isHalfFull = 2 * active.reduce((sum, { entries }) => sum + entries, 0) >= policy.shards * cap;
  const othersOf = ({ shard }: QueueShard): readonly QueueShard[] =>
    active.filter((one) => one.shard !== shard);
  const roomBeside = (shard: QueueShard): number =>
    othersOf(shard).reduce((sum, { entries }) => sum + Math.max(0, cap - entries), spare * cap);
  const fullest = active.find((shard) => {
    const { entries, open } = shard;
    const room = roomBeside(shard);
    const isLarge = entries >= cap || (isHalfFull && 2 * entries >= cap && room > open);
    return isLarge && entries - open >= drainAt * entries && room >= open;
  });
  if (fullest !== undefined || spare > 0 || active.length < shards.length) return fullest;
  const sharing = active.filter(({ holder }) => holder === null || !satisfied.has(holder.as));
  const counts = new Map<string, number>();
  for (const { holder } of sharing)
    if (holder !== null) counts.set(holder.as, (counts.get(holder.as) ?? 0) + 1);
  const countOf = ({ holder }: QueueShard): number => counts.get(holder?.as ?? "") ?? 0;
  const isShared = Math.max(...counts.values()) - Math.min(...sharing.map(countOf)) <= 1;
  const hasRoom = (shard: QueueShard): boolean => roomBeside(shard) >= shard.open + cap;
  return isShared ? sharing.findLast((one) => countOf(one) > 1 && hasRoom(one)) : undefined;
}

/** If it is not retired, the shard is active again, or has another holder. `because` is a sentence. */
export type DrainResult = { readonly moved: number } & (
  | { readonly retired: true }
  | { readonly retired: false; readonly because: string }
);

/**
 * Drains a shard: moves its open entries to active shards with room, and retires it. If there is no room, or the signal
 * is aborted, it releases the shard, which then takes entries again.
 */
export async function drainShard(access: DrainAccess, drained: DrainedShard): Promise<DrainResult> {
  const { queue, shard, signal } = drained;
  const hold = await takeHold(access, "drain", drained, signal);
  if (typeof hold === "string") return { retired: false, moved: 0, because: hold };
  drained.onDrained?.();
  let moved = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const query = { queue, shard, limit: MAX_MOVES, cursor: undefined };
      const { entries } = await access.openEntries(query, signal);
      drained.onProgress?.(moved, entries.length);
      if (entries.length === 0) break;
      const status = await access.queue(queue, signal);
      const { cap } = status.policy;
      const [target] = status.shards
        .filter(({ state, entries: held }) => state === "active" && held < cap)
        .toSorted((a, b) => a.open - b.open);
      if (target === undefined) {
        if (await activateSpare(access, drained, status)) continue;
        await release(access, drained, hold);
        return { retired: false, moved, because: `No other shard of ${queue} has room.` };
      }
      const count = Math.min(entries.length, cap - target.entries);
      const ops: AnyOperation[] = entries
        .slice(0, count)
        .map(({ name }) => ["move", queue, `${shard}/${name}`, target.shard, withHold(hold)]);
      ops.push(["renew", queue, shard, withHold(hold)]);
      const { committed, reason } = await transactUntil(access, ops, signal);
      if (committed) moved += count;
      else if (!isHeld(await access.queue(queue, signal), hold))
        return { retired: false, moved, because: `${reasonWords(reason)}.` };
    }
    const { committed, reason } = await updateHold(access, "retire", hold, signal);
    return committed
      ? { retired: true, moved }
      : { retired: false, moved, because: `${reasonWords(reason)}.` };
  } catch (error) {
    if (!signal.aborted) throw error;
    await release(access, drained, hold);
    return { retired: false, moved, because: "It was interrupted." };
  }
}

/** Makes the lowest spare shard active, without a director. Returns false if there is none. */
async function activateSpare(
  access: DrainAccess,
  { queue, as, signal }: DrainedShard,
  status: QueueStatus,
): Promise<boolean> {
  const shard = lowestSpare(status);
  if (shard === undefined) return false;
  // If it is refused, another program has claimed the shard, which is just as good.
  const hold = await takeHold(access, "claim", { queue, shard, as }, signal);
  if (typeof hold !== "string") await updateHold(access, "release", hold, signal);
  return true;
}

/** Releases the shard, even if the drain was aborted. If that fails, the lease ends by itself. */
async function release(access: DrainAccess, { leaseMs }: DrainedShard, hold: Hold): Promise<void> {
  const inTime = timeoutSignal(Math.max(1, leaseMs));
  await updateHold(access, "release", hold, inTime).catch(() => undefined);
}
