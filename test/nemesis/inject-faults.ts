import { setTimeout as delay } from "node:timers/promises";
import type { Picks } from "../support/seeded-random.ts";
import { FAULTS } from "./faults.ts";
import { type NemesisCluster, NODES } from "./nemesis-cluster.ts";

const LONGEST_MS = 3_000;
const LONGEST_CALM_MS = 1_000;
const AT_ONCE = 3;

/** Lets faults happen in the order that `picks` gives, some of them at once, until `signal` aborts. Answers how often each did. */
export async function torment(
  cluster: NemesisCluster,
  picks: Picks,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const happened = new Map<string, number>();
  const names = Object.keys(FAULTS).filter((name) => name !== "disk full" || cluster.hasDisk);
  const [first = "", ...rest] = names;
  const busy = new Map<string, Promise<void>>();
  // A fault that fails has not put back what it took away: whatever came after it would show nothing.
  const failures: Error[] = [];
  while (!signal.aborted && failures.length === 0) {
    const name = picks.of([first, ...rest]);
    const [node, lastMs, calmMs] = [
      picks.below(NODES),
      picks.next() * LONGEST_MS,
      picks.next() * LONGEST_CALM_MS,
    ];
    const fault = FAULTS[name];
    if (fault === undefined) throw new Error(`there is no fault ${name}`);
    // What is about an index is about its node as well.
    const about = [...new Set([fault.about(node), ...(name.includes("index") ? [`node ${node}`] : [])])];
    await Promise.all(about.map((thing) => busy.get(thing)));
    while (new Set(busy.values()).size >= AT_ONCE) await Promise.race(busy.values());
    if (signal.aborted) break;
    happened.set(name, (happened.get(name) ?? 0) + 1);
    const happening = fault
      .happen({ cluster, node, lastMs, picks })
      .catch((error: unknown) => {
        failures.push(new Error(`the fault "${name}" failed`, { cause: error }));
      })
      .finally(() => {
        for (const thing of about) busy.delete(thing);
      });
    for (const thing of about) busy.set(thing, happening);
    await Promise.race([happening, delay(calmMs, undefined, { signal }).catch(() => undefined)]);
    await cluster.startEnded((number) => busy.has(`node ${number}`));
  }
  await Promise.all(busy.values());
  if (failures[0] !== undefined) throw failures[0];
  return happened;
}
