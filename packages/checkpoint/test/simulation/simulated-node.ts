import { type Checkpointer, type CheckpointerEvent, startCheckpointer } from "../../src/index.ts";
import type { CheckpointerParts } from "../../src/save/checkpointer.ts";
import { beginLife, type NodeLife } from "../../testing/simulation/node-life.ts";
import type { SeededRandom } from "../../testing/simulation/seeded-random.ts";
import { simulatedIndex, type SimulatedLog } from "./simulated-index.ts";
import type { VirtualTime } from "../../testing/simulation/virtual-time.ts";

/** A node of a simulated cluster, through all its lives. */
export interface SimulatedNode {
  readonly id: string;
  readonly life: () => NodeLife | undefined;
  start(): void;
  kill(): void;
  /** Shuts the node down cleanly. The node has ended once the promise resolves. */
  stop(timeoutMs: number): Promise<void>;
  /** Returns the total time that the node ran (ms). */
  ran(): number;
}

/** The parts of a node. */
export interface NodeParts {
  readonly id: string;
  readonly time: VirtualTime;
  readonly log: SimulatedLog;
  readonly random: SeededRandom;
  /** The maximum error of the machine's clock (ms). */
  readonly clockError: number;
  readonly optionsOf: (life: NodeLife) => CheckpointerParts["options"];
  readonly onEvent: (life: NodeLife, event: CheckpointerEvent) => void;
}

/** Returns a node that is not running yet. */
export function simulatedNode(parts: NodeParts): SimulatedNode {
  const { id, time, random, clockError } = parts;
  let life: NodeLife | undefined;
  let checkpointer: Checkpointer | undefined;
  let [startedAt, ranBefore] = [0, 0];
  const end = (): void => {
    life?.kill();
    life = undefined;
    ranBefore += time.now() - startedAt;
  };
  return {
    id,
    life: () => life,
    ran: () => ranBefore + (life === undefined ? 0 : time.now() - startedAt),
    start() {
      const born = beginLife(id, time, random.between(-clockError, clockError));
      life = born;
      startedAt = time.now();
      checkpointer = startCheckpointer({
        ...simulatedIndex(born, parts.log, 1_000),
        clock: born.clock,
        random: random.next,
        options: parts.optionsOf(born),
        onEvent: (event) => parts.onEvent(born, event),
      });
    },
    kill: end,
    async stop(timeoutMs) {
      const stopping = life;
      await checkpointer?.stop({ timeoutMs });
      if (life === stopping) end();
    },
  };
}
