import type { Figures } from "./figures.ts";
import type { Workspace } from "../data/workspace.ts";

/** One of those that a row compares: Cairn, a limit, or a peer. */
export interface Contestant {
  readonly name: string;
  /** One round. Whatever it needs that is not measured is ready before, or done before its clock starts. */
  readonly run: () => Promise<Figures>;
}

/** One contestant's figure. */
export interface FigureName {
  readonly contestant: string;
  readonly metric: string;
}

/** What a ratio of two figures of the same round, or without `to` a figure itself, has to be. */
export interface Target {
  readonly of: FigureName;
  readonly to?: FigureName;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** What a row compares, ready to run. */
export interface Comparison {
  readonly contestants: readonly Contestant[];
  readonly targets: readonly Target[];
}

/** One row of the bench. */
export interface Row {
  readonly name: string;
  readonly title: string;
  /** Makes what all its rounds share. */
  readonly prepare: (workspace: Workspace) => Promise<Comparison>;
}
