import type { Comparison, FigureName, Target } from "./row.ts";
import type { Figures } from "./figures.ts";

/** The median of some values, and their range. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly values: readonly number[];
}

/** A metric of one contestant over all rounds. */
export interface MeasuredFigure extends FigureName {
  readonly summary: Summary;
}

/** A target, its measured values, and whether their median meets it. */
export interface JudgedTarget {
  readonly target: Target;
  readonly summary: Summary;
  readonly met: boolean;
}

/** The results of a comparison. */
export interface Measured {
  readonly figures: readonly MeasuredFigure[];
  readonly targets: readonly JudgedTarget[];
}

/** The figures of one round by contestant. */
export type Round = ReadonlyMap<string, Figures>;

/**
 * Runs every contestant once in each round, one after another, so that a slow phase of the machine affects all of them
 * and not only one.
 */
export async function runRounds(
  { contestants }: Comparison,
  rounds: number,
  onRun: (contestant: string, round: number) => void,
): Promise<readonly Round[]> {
  const done: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    const measured = new Map<string, Figures>();
    for (const { name, run } of contestants) {
      onRun(name, round);
      measured.set(name, await run());
    }
    done.push(measured);
  }
  return done;
}

/** Summarizes a comparison's rounds. Ratios are taken within a round, and the median ratio is compared with the target. */
export function judge(comparison: Comparison, rounds: readonly Round[]): Measured {
  const [first] = rounds;
  const figures = [...(first ?? [])].flatMap(([contestant, metrics]) =>
    Object.keys(metrics).map((metric) => ({
      contestant,
      metric,
      summary: summarize(rounds.map((round) => valueOf(round, { contestant, metric }))),
    })),
  );
  const targets = comparison.targets.map((target) => {
    const { of, to, atLeast = -Infinity, atMost = Infinity } = target;
    const values = rounds.map((round) => valueOf(round, of) / (to === undefined ? 1 : valueOf(round, to)));
    const summary = summarize(values);
    return { target, summary, met: summary.median >= atLeast && summary.median <= atMost };
  });
  return { figures, targets };
}

/** Returns the median, minimum and maximum of at least one value. */
function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (at(sorted, Math.floor(middle)) + at(sorted, Math.ceil(middle))) / 2;
  return { median, min: at(sorted, 0), max: at(sorted, sorted.length - 1), values };
}

function at(values: readonly number[], index: number): number {
  const value = values[index];
  if (value === undefined) throw new Error("nothing was measured");
  return value;
}

function valueOf(round: Round, { contestant, metric }: FigureName): number {
  const value = round.get(contestant)?.[metric];
  if (value === undefined) throw new Error(`${contestant} did not measure ${metric}`);
  return value;
}
