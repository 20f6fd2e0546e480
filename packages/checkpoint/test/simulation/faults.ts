import { isCairnError } from "@cairn/kv";
import { CALM } from "./conditions.ts";
import type { Conditions } from "./conditions.ts";
import type { Exposure } from "./exposure.ts";
import type { NodeLife } from "../../testing/simulation/node-life.ts";
import type { SeededRandom } from "../../testing/simulation/seeded-random.ts";
import type { SimulatedLog } from "./simulated-index.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import type { VirtualTime } from "../../testing/simulation/virtual-time.ts";
import type { Witness } from "./witness.ts";

/** The parts that faults affect. */
export interface FaultParts {
  readonly conditions: Conditions;
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly nodes: readonly SimulatedNode[];
  readonly log: SimulatedLog;
  readonly seen: Witness;
  readonly exposure: Exposure;
  readonly setStoreUp: (up: boolean) => void;
}

/** The running faults of a simulation. */
export interface Faults {
  onStep(life: NodeLife, when: "before" | "after"): void;
  /** Records that a round failed with `error`. An error that no fault explains is a violation. */
  explain(error: unknown): void;
}

const EXPECTED = ["STORE_UNREACHABLE", "CONFLICT", "NOT_READY"] as const;

/** Starts the faults that `conditions.storm` specifies. */
export function startFaults(parts: FaultParts): Faults {
  const { conditions, time, random, nodes, log, seen, exposure, setStoreUp } = parts;
  const { storm, period } = conditions;

  function kill(node: SimulatedNode): void {
    const life = node.life();
    if (life === undefined) return;
    exposure.advance();
    if (seen.isSaving(life)) exposure.interrupt();
    seen.died(life);
    node.kill();
    startAgain(node);
  }

  function killLife(life: NodeLife): void {
    for (const node of nodes) if (node.life() === life) kill(node);
  }

  function startAgain(node: SimulatedNode): void {
    // The node is often restarted immediately, as a supervisor would restart it, but sometimes only after days.
    time.plan(random.magnitude(1_000, 3 * period), () => {
      exposure.advance();
      if (node.life() === undefined) node.start();
      return true;
    });
  }

  async function stop(node: SimulatedNode, life: NodeLife): Promise<void> {
    await node.stop(10_000);
    seen.died(life);
    if (node.life() === undefined) startAgain(node);
  }

  function freeze(life: NodeLife, lasts = random.magnitude(1_000, 2 * period)): void {
    if (life.isDead() || life.isFrozen()) return;
    exposure.advance();
    if (seen.isSaving(life)) exposure.interrupt();
    life.freeze();
    time.plan(lasts, () => {
      exposure.advance();
      life.thaw();
      return true;
    });
  }

  function every(mean: number, happen: () => void): void {
    if (!Number.isFinite(mean)) return;
    time.plan(random.after(mean * period), () => {
      happen();
      every(mean, happen);
      return true;
    });
  }

  for (const node of nodes) {
    every(storm.crashEvery, () => kill(node));
    every(storm.freezeEvery, () => {
      const life = node.life();
      if (life !== undefined) freeze(life);
    });
    every(storm.stopEvery, () => {
      const life = node.life();
      if (life === undefined || life.isFrozen()) return;
      void stop(node, life);
    });
  }
  every(storm.outageEvery, () => {
    setStoreUp(false);
    time.plan(random.magnitude(10_000, 3 * period), () => {
      setStoreUp(true);
      return false;
    });
  });
  every(storm.pauseOfWritesEvery, () => {
    exposure.advance();
    log.stop();
    time.plan(random.magnitude(period / 10, 4 * period), () => {
      exposure.advance();
      log.go();
      return false;
    });
  });

  const kindOfOnce = storm.once?.does;
  const seenSteps = { before: 0, after: 0 };
  function isChosen(when: "before" | "after"): boolean {
    seenSteps[when] += 1;
    return storm.once?.request === seenSteps[when] && kindOfOnce?.endsWith(when) === true;
  }

  return {
    onStep(life, when) {
      if (isChosen(when)) return kindOfOnce === "freeze after" ? freeze(life, 1.2 * period) : killLife(life);
      if (storm.atStep === 0 || !seen.isSaving(life) || life.isDead() || !random.chance(storm.atStep)) return;
      if (when === "before" || random.chance(0.5)) killLife(life);
      else freeze(life);
    },
    explain(error) {
      const isExpected = EXPECTED.some((code) => isCairnError(error, code));
      if (!isExpected || storm === CALM) seen.violate("rounds fail for a reason", String(error));
    },
  };
}
