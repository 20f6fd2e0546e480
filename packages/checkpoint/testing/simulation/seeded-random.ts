/** Random numbers that depend only on the seed. */
export interface SeededRandom {
  /** Returns a number of at least 0 and below 1. */
  next(): number;
  between(low: number, high: number): number;
  /** Returns a number between `low` and `high`, evenly distributed by magnitude, for durations from seconds to days. */
  magnitude(low: number, high: number): number;
  /** Returns the time until an event that is equally likely at any instant and happens every `mean` on average. */
  after(mean: number): number;
  chance(probability: number): boolean;
  pick<T>(values: readonly T[]): T | undefined;
  /** Returns another sequence, so that one part's draws do not shift another's. */
  fork(): SeededRandom;
}

/** Returns a sequence of random numbers (mulberry32). */
export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    magnitude: (low, high) => low * (high / low) ** next(),
    after: (mean) => -mean * Math.log(1 - next()),
    chance: (probability) => next() < probability,
    pick: (values) => values[Math.floor(next() * values.length)],
    fork: () => seededRandom(Math.floor(next() * 2 ** 32)),
  };
}
