import { isNewer } from "../store/checkpoint.ts";
import type { OtherLook } from "../store/checkpoint-source.ts";
import type { CheckpointFiles } from "../store/list-checkpoints.ts";

/** In the place of a look's time, once the node has looked again and found the same. */
const PROVEN = "";

/**
 * Returns a function that takes what other nodes have found, and what this node listed afterwards, and returns the looks
 * of those that have another store. Retention removes the newest checkpoint only for a newer one, so a list without
 * either is that of another store, or of one that hides files. It is proven only when both nodes have looked again,
 * because the checkpoint may have been removed by hand since the other one's look. No clocks are compared. A checkpoint
 * younger than `minAgeMs` may not be listed everywhere yet, as on network file systems.
 */
export function storeComparison(
  minAgeMs: number,
): (others: readonly OtherLook[], listed: readonly Pick<CheckpointFiles, "name">[]) => readonly OtherLook[] {
  /** For each node in doubt, the time of the look that raised the doubt. It lasts until this node lists the same. */
  let doubted = new Map<string, string>();
  return (others, listed) => {
    const names = new Set(listed.map(({ name }) => name));
    const [newest] = names;
    const next = new Map<string, string>();
    for (const { instance, at, newest: its } of others) {
      if (names.has(its.name)) continue;
      const before = doubted.get(instance);
      const isLacking = its.ageMs >= minAgeMs && (newest === undefined || isNewer(its.name, newest));
      if (isLacking) next.set(instance, before === undefined || before === at ? at : PROVEN);
      else if (before !== undefined) next.set(instance, before);
    }
    doubted = next;
    return others.filter(({ instance }) => doubted.get(instance) === PROVEN);
  };
}
