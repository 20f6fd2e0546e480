import type { Figures } from "./figures.ts";
import type { Workspace } from "../data/workspace.ts";

/** One side of a comparison: Cairn, a limit, or a peer. */
export interface Contestant {
  readonly name: string;
  /** Runs one round. Preparations are not part of the measured time. */
  readonly run: () => Promise<Figures>;
}

/** Identifies a figure of a contestant. */
export interface FigureName {
  readonly contestant: string;
  readonly metric: string;
}

/** The required ratio of two figures of the same round or, without `to`, the required value of a figure. */
export interface Target {
  readonly of: FigureName;
  readonly to?: FigureName;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** A comparison that is ready to run. */
export interface Comparison {
  readonly contestants: readonly Contestant[];
  readonly targets: readonly Target[];
}

/** Returns the target for the ratio of two contestants' values of one metric. */
export function ratioTarget(
  metric: string,
  of: string,
  to: string,
  bounds: { readonly atLeast?: number; readonly atMost?: number } = {},
): Target {
  return { of: { contestant: of, metric }, to: { contestant: to, metric }, ...bounds };
}

/** One row of the bench. */
export interface Row {
  readonly name: string;
  readonly title: string;
  /** Creates the data that all rounds share. */
  readonly prepare: (workspace: Workspace) => Promise<Comparison>;
}
