import type { Clock } from "@cairn/kv";
import type { VirtualTime } from "./virtual-time.ts";

/** A process from its start to its end. Events reach its code only while it runs. */
export interface NodeLife {
  readonly node: string;
  /** The clock of the process's machine, which may be wrong, and its timers. */
  readonly clock: Clock;
  /**
   * Calls `work` immediately or, if the process is frozen, once it continues. Never calls it if the process has ended.
   * Returns whether it called `work` immediately.
   */
  deliver(work: () => void): boolean;
  isDead(): boolean;
  isFrozen(): boolean;
  /** Returns when the process last continued after being frozen, in virtual time. */
  thawedAt(): number;
  freeze(): void;
  thaw(): void;
  kill(): void;
}

/** Begins a life of `node` on a machine whose clock is `offset` ms ahead. */
export function beginLife(node: string, time: VirtualTime, offset: number): NodeLife {
  let dead = false;
  let frozen = false;
  let thawedAt = Number.NEGATIVE_INFINITY;
  let held: (() => void)[] = [];
  const deliver = (work: () => void): boolean => {
    if (dead) return false;
    if (frozen) {
      held.push(work);
      return false;
    }
    work();
    return true;
  };
  return {
    node,
    deliver,
    isDead: () => dead,
    isFrozen: () => frozen,
    thawedAt: () => thawedAt,
    freeze() {
      frozen = true;
    },
    thaw() {
      if (dead || !frozen) return;
      frozen = false;
      thawedAt = time.now();
      const waiting = held;
      held = [];
      for (const work of waiting) deliver(work);
    },
    kill() {
      dead = true;
      held = [];
    },
    clock: {
      now: () => Math.floor(time.now() + offset),
      wait(ms, signal) {
        if (signal?.aborted === true) return Promise.resolve(false);
        return new Promise((resolve) => {
          const end = (elapsed: boolean): void => {
            cancel();
            signal?.removeEventListener("abort", onAbort);
            resolve(elapsed);
          };
          const onAbort = (): void => end(false);
          const cancel = time.plan(ms, () => deliver(() => end(true)));
          signal?.addEventListener("abort", onAbort);
        });
      },
    },
  };
}
