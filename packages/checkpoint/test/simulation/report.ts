import { leaseDuration } from "../../src/save/lease.ts";
import type { Conditions } from "./conditions.ts";
import type { Exposure } from "./exposure.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import type { RequestKind, StoreContents } from "../../testing/simulation/simulated-store.ts";
import type { Violation, Witness } from "./witness.ts";

/** The results of a run. */
export interface Report {
  readonly conditions: Conditions;
  /** The number of periods in which a node ran, the store responded and there was something new. */
  readonly periods: number;
  readonly uploads: number;
  readonly uploadsPerPeriod: number;
  /** The longest gap in periods: with no interrupted saver, with one, and with more. */
  readonly longestGap: { readonly plain: number; readonly interrupted: number; readonly oftener: number };
  /**
   * How far the longest gap exceeds the limit, which is 1.5 periods and a lease, plus half a period for each saver that
   * was interrupted in the gap.
   */
  readonly gapBeyondLimit: number;
  /** The time from the log's first transaction to the first checkpoint (ms). */
  readonly untilFirst: number;
  readonly mostAtOnce: number;
  /** The fraction of all uploads. */
  readonly duplicates: number;
  readonly thrownAway: number;
  /** The uploads of a node relative to its fair share for the time that it ran. */
  readonly share: { readonly least: number; readonly most: number };
  readonly looksPerNode: number;
  readonly requestsPerLook: number;
  readonly listsPerLook: number;
  readonly readsPerLook: number;
  readonly longestListing: number;
  readonly violations: readonly Violation[];
}

/** The data of a report. */
export interface RunFigures {
  readonly conditions: Conditions;
  readonly seen: Witness;
  readonly exposure: Exposure;
  readonly nodes: readonly SimulatedNode[];
  readonly looks: number;
  readonly requests: ReadonlyMap<RequestKind, number>;
  readonly longestListing: number;
  readonly contents: StoreContents;
  readonly untilFirst: number;
}

/** Returns the figures of a run as ratios. */
export function summarize(run: RunFigures): Report {
  const { conditions, seen, exposure, nodes, looks, requests, longestListing } = run;
  const { period } = conditions;
  const counted = seen.counted();
  const lease = leaseDuration(period) / period;
  const periods = exposure.total() / period;
  const gaps = [...exposure.longest()].map(([interrupted, gap]) => ({ interrupted, gap: gap / period }));
  const longest = (is: (interrupted: number) => boolean): number =>
    Math.max(0, ...gaps.filter(({ interrupted }) => is(interrupted)).map(({ gap }) => gap));
  const ran = nodes.reduce((sum, node) => sum + node.ran(), 0);
  const shares = nodes
    .filter((node) => node.ran() > 0)
    .map((node) => (counted.byNode.get(node.id) ?? 0) / ((counted.uploads * node.ran()) / ran));
  const all = [...requests.values()].reduce((sum, count) => sum + count, 0);
  return {
    conditions,
    periods,
    uploads: counted.uploads,
    uploadsPerPeriod: counted.uploads / periods,
    longestGap: {
      plain: longest((n) => n === 0),
      interrupted: longest((n) => n === 1),
      oftener: longest((n) => n > 1),
    },
    gapBeyondLimit: Math.max(0, ...gaps.map(({ interrupted, gap }) => gap - 1.5 - lease - 0.5 * interrupted)),
    untilFirst: run.untilFirst,
    mostAtOnce: counted.mostAtOnce,
    duplicates: counted.duplicates / counted.uploads,
    thrownAway: counted.thrownAway / counted.uploads,
    share: { least: Math.min(...shares), most: Math.max(...shares) },
    looksPerNode: looks / (ran / period),
    requestsPerLook: all / looks,
    listsPerLook: (requests.get("list") ?? 0) / looks,
    readsPerLook: (requests.get("read") ?? 0) / looks,
    longestListing,
    violations: seen.violations,
  };
}
