import { seededRandom } from "../../testing/simulation/seeded-random.ts";

/**
 * The faults that occur, and their frequency. Each `…Every` is a mean in periods of one node; `Infinity` means never.
 */
export interface Storm {
  readonly crashEvery: number;
  readonly freezeEvery: number;
  readonly stopEvery: number;
  readonly outageEvery: number;
  readonly pauseOfWritesEvery: number;
  /** The fraction of a saving node's requests just before or after which the node dies or freezes. */
  readonly atStep: number;
  /** The fraction of all requests that are not executed, or are executed but whose response is lost. */
  readonly failing: number;
  /** The request (starting with 1) at which its sender is killed or frozen, whatever else happens. */
  readonly once?: { readonly request: number; readonly does: "die before" | "die after" | "freeze after" };
}

/** A storm without faults. */
export const CALM: Storm = {
  crashEvery: Infinity,
  freezeEvery: Infinity,
  stopEvery: Infinity,
  outageEvery: Infinity,
  pauseOfWritesEvery: Infinity,
  atStep: 0,
  failing: 0,
};

/** A storm with all faults, more frequent than in practice. */
export const STORMY: Storm = {
  crashEvery: 40,
  freezeEvery: 40,
  stopEvery: 60,
  outageEvery: 50,
  pauseOfWritesEvery: 30,
  atStep: 0.003,
  failing: 0.002,
};

/** The conditions of a simulated cluster. Durations are in milliseconds. */
export interface Conditions {
  readonly seed: number;
  readonly nodes: number;
  readonly periods: number;
  readonly period: number;
  /**
   * Whether the store's conditional writes are exclusive. With `"claimed"`, the store claims that they are, but they
   * are not.
   */
  readonly exclusive: boolean | "claimed";
  /** The shortest and the longest duration of an upload. */
  readonly upload: readonly [number, number];
  /** The resolution of the store's clock. */
  readonly storeTick: number;
  readonly retention: { readonly retainAtLeast: number; readonly retainNewerThan: number };
  readonly storm: Storm;
  /** How long the log has no transactions after the cluster's first start. Defaults to 0. */
  readonly emptyFor?: number;
}

const HOUR = 3_600_000;

/**
 * Returns the conditions of the documentation: a period of PT6H, uploads of a minute or two, and a retention of three
 * checkpoints or two days.
 */
export function usualConditions(seed: number, nodes: number, periods: number): Conditions {
  return {
    seed,
    nodes,
    periods,
    period: 6 * HOUR,
    exclusive: true,
    upload: [60_000, 120_000],
    storeTick: 1,
    retention: { retainAtLeast: 3, retainNewerThan: 48 * HOUR },
    storm: CALM,
  };
}

/** Returns conditions that the seed determines entirely: the cluster's size, period, store and faults. */
export function anyConditions(seed: number, nodePeriods: number): Conditions {
  const random = seededRandom(seed);
  const nodes = random.pick([1, 2, 3, 5, 5, 8, 20]) ?? 1;
  const period = random.pick([20_000, 300_000, HOUR, 6 * HOUR, 24 * HOUR]) ?? HOUR;
  const shortest = random.magnitude(period / 1_000, Math.min(period / 20, HOUR / 6));
  const often = random.magnitude(0.5, 4);
  const of = (every: number): number => (random.chance(0.3) ? Infinity : every / often);
  return {
    seed,
    nodes,
    periods: Math.ceil(nodePeriods / nodes),
    period,
    exclusive: random.chance(0.7),
    upload: [shortest, shortest * random.between(1, 5)],
    storeTick: random.pick([1, 1_000]) ?? 1,
    retention: {
      retainAtLeast: random.pick([1, 2, 3, 7]) ?? 1,
      retainNewerThan: random.pick([1, 4, 10].map((periods) => periods * period)) ?? period,
    },
    storm: {
      crashEvery: of(STORMY.crashEvery),
      freezeEvery: of(STORMY.freezeEvery),
      stopEvery: of(STORMY.stopEvery),
      outageEvery: of(STORMY.outageEvery),
      pauseOfWritesEvery: of(STORMY.pauseOfWritesEvery),
      atStep: random.chance(0.3) ? 0 : STORMY.atStep * often,
      failing: random.chance(0.2) ? 0 : STORMY.failing * often,
    },
  };
}
