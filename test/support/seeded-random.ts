/** Returns a generator of numbers in [0, 1) (mulberry32), which are the same for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random choices that depend only on a seed. */
export interface Picks {
  /** Returns a number in [0, 1). */
  next(): number;
  /** Returns an integer in [0, limit). */
  below(limit: number): number;
  /** Returns one element of `from`. */
  of<T>(from: readonly [T, ...T[]]): T;
}

/** Returns choices that are the same in every run with this seed. */
export function seededPicks(seed: number): Picks {
  const next = seededRandom(seed);
  const below = (limit: number): number => Math.floor(next() * limit);
  return { next, below, of: (from) => from[below(from.length)] ?? from[0] };
}
