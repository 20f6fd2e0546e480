import { setTimeout as delay } from "node:timers/promises";
import type { Picks } from "@cairn/test-support/seeded-random";
import { FAULTS } from "./faults.ts";
import { type NemesisCluster, NODES } from "./nemesis-cluster.ts";

const MAX_FAULT_MS = 3_000;
const MAX_PAUSE_MS = 1_000;
const MAX_CONCURRENT = 3;

/**
 * Injects random faults, some of them concurrently, until `signal` aborts. Returns the number of times that each fault
 * happened.
 */
export async function injectFaults(
  cluster: NemesisCluster,
  picks: Picks,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const happened = new Map<string, number>();
  const names = Object.keys(FAULTS).filter((name) => name !== "disk full" || cluster.hasDisk);
  const [first = "", ...rest] = names;
  const busy = new Map<string, Promise<void>>();
  // A fault that fails has not undone its effect, so later observations would be meaningless.
  const failures: Error[] = [];
  while (!signal.aborted && failures.length === 0) {
    const name = picks.of([first, ...rest]);
    const node = picks.below(NODES);
    const durationMs = picks.next() * MAX_FAULT_MS;
    const pauseMs = picks.next() * MAX_PAUSE_MS;
    const fault = FAULTS[name];
    if (fault === undefined) throw new Error(`there is no fault ${name}`);
    // A fault of an index also targets its node.
    const targets = [...new Set([fault.target(node), ...(name.includes("index") ? [`node ${node}`] : [])])];
    await Promise.all(targets.map((target) => busy.get(target)));
    while (new Set(busy.values()).size >= MAX_CONCURRENT) await Promise.race(busy.values());
    if (signal.aborted) break;
    happened.set(name, (happened.get(name) ?? 0) + 1);
    const occurrence = fault
      .inject({ cluster, node, durationMs, picks })
      .catch((error: unknown) => {
        failures.push(new Error(`the fault "${name}" failed`, { cause: error }));
      })
      .finally(() => {
        for (const target of targets) busy.delete(target);
      });
    for (const target of targets) busy.set(target, occurrence);
    await Promise.race([occurrence, delay(pauseMs, undefined, { signal }).catch(() => undefined)]);
    await cluster.startEnded((number) => busy.has(`node ${number}`));
  }
  await Promise.all(busy.values());
  if (failures[0] !== undefined) throw failures[0];
  return happened;
}
