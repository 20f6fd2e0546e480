import type { VirtualTime } from "../../testing/simulation/virtual-time.ts";

/**
 * The time that the cluster spent without a new checkpoint although a node ran, the store responded, and there was
 * something new.
 */
export interface Exposure {
  /** Counts the time so far. Must be called before a change to anything on which the conditions depend. */
  advance(): void;
  /** Records that a node was killed or froze while saving: its work is lost, and its lease has to expire. */
  interrupt(): void;
  published(): void;
  /** Returns all unexcused time (ms). */
  total(): number;
  /**
   * Returns the longest gap (ms) for each number of savers that were interrupted in it. A gap that is still open
   * counts.
   */
  longest(): ReadonlyMap<number, number>;
}

/** Measures exposure. `isExposed` returns whether nothing excuses a gap now. */
export function measureExposure(time: VirtualTime, isExposed: () => boolean): Exposure {
  const longest = new Map<number, number>();
  let since = time.now();
  let total = 0;
  let gap = 0;
  let interrupted = 0;
  const advance = (): void => {
    const now = time.now();
    if (isExposed()) {
      total += now - since;
      gap += now - since;
    }
    since = now;
  };
  const note = (): void => {
    longest.set(interrupted, Math.max(gap, longest.get(interrupted) ?? 0));
  };
  return {
    advance,
    interrupt() {
      interrupted += 1;
    },
    published() {
      advance();
      note();
      gap = 0;
      interrupted = 0;
    },
    total() {
      advance();
      return total;
    },
    longest() {
      advance();
      note();
      return longest;
    },
  };
}
