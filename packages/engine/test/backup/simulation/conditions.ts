import { seededRandom } from "@cairn/checkpoint/testing";

/** The faults of a simulation. Each `…Every` is the mean interval at one node, in periods; `Infinity` means never. */
export interface Storm {
  readonly crashEvery: number;
  readonly freezeEvery: number;
  readonly outageEvery: number;
  /**
   * The fraction of requests at which a working node dies or is suspended (often for hours), immediately before or
   * after the request.
   */
  readonly atStep: number;
  /** The fraction of all requests that are not executed, or whose response is lost. */
  readonly failing: number;
}

export const CALM: Storm = {
  crashEvery: Infinity,
  freezeEvery: Infinity,
  outageEvery: Infinity,
  atStep: 0,
  failing: 0,
};

export const STORMY: Storm = {
  crashEvery: 40,
  freezeEvery: 40,
  outageEvery: 60,
  atStep: 0.02,
  failing: 0.01,
};

/** The conditions of a simulated cluster with a log backup. Durations are in milliseconds. */
export interface Conditions {
  readonly seed: number;
  readonly nodes: number;
  /** The number of nodes that follow the backup. They look once a period. */
  readonly readers: number;
  readonly periods: number;
  readonly every: number;
  /** Whether the store's conditional writes are exclusive. */
  readonly exclusive: boolean;
  /** The minimum and the maximum duration of an upload. */
  readonly upload: readonly [number, number];
  readonly messagesPerPeriod: number;
  readonly messageBytes: number;
  /** Whether the log is occasionally trimmed up to the end of the backup, so that nothing can be written again. */
  readonly trims: boolean;
  /** The age up to which segments are kept (ms). Unless it is "all", checkpoints are saved, verified and removed. */
  readonly keep: number | "all";
  /** The mean interval between losses of the log's end, in periods. */
  readonly regressEvery: number;
  /** The fraction of uploads during which the node is suspended, so that it may write what the log has lost since. */
  readonly stalling: number;
  /** The fraction of segments with new messages that are damaged as they are stored. */
  readonly damaging: number;
  readonly storm: Storm;
}

/** Returns a cluster that writes a segment a minute. */
export function usualConditions(seed: number, nodes: number, periods: number): Conditions {
  return {
    seed,
    nodes,
    readers: 1,
    periods,
    every: 60_000,
    exclusive: true,
    upload: [50, 500],
    messagesPerPeriod: 20,
    messageBytes: 100,
    trims: false,
    keep: "all",
    regressEvery: Infinity,
    stalling: 0,
    damaging: 0,
    storm: CALM,
  };
}

/**
 * Returns the conditions of a cluster that the seed determines. `looks` is the approximate number of looks by all nodes
 * together.
 */
export function anyConditions(seed: number, looks: number): Conditions {
  const random = seededRandom(seed);
  const nodes = random.pick([1, 2, 3, 3, 5, 5, 10, 30]) ?? 1;
  const every = random.pick([1_000, 10_000, 60_000, 60_000, 3_600_000]) ?? 60_000;
  const often = random.magnitude(0.5, 5);
  const of = (mean: number): number => (random.chance(0.3) ? Infinity : mean / often);
  // These segments are merged because they fill a larger one, not because there are many.
  const isLarge = random.chance(0.05);
  const periods = Math.ceil(looks / nodes);
  // A log that lost its end is not trimmed, and its backup is not shortened, until someone has pruned the backup.
  const regresses = random.chance(0.3);
  return {
    seed,
    nodes,
    readers: 1,
    periods,
    every,
    exclusive: random.chance(0.6),
    upload: [20, random.magnitude(50, every * 2)],
    messagesPerPeriod: isLarge ? 6 : (random.pick([0.5, 3, 20]) ?? 3),
    messageBytes: isLarge ? 70_000 : 50,
    trims: !regresses && random.chance(0.6),
    keep: regresses || random.chance(0.4) ? "all" : Math.max(3, periods / 8) * every,
    regressEvery: regresses ? Math.max(2, periods / 10) : Infinity,
    stalling: regresses ? 0.2 : 0,
    damaging: random.chance(0.3) ? 0.03 : 0,
    storm: {
      crashEvery: of(STORMY.crashEvery),
      freezeEvery: of(STORMY.freezeEvery),
      outageEvery: of(STORMY.outageEvery),
      atStep: random.chance(0.2) ? 0 : STORMY.atStep * often,
      failing: random.chance(0.2) ? 0 : STORMY.failing * often,
    },
  };
}
