import { CairnError } from "@cairn/kv";
import { unreachable } from "../faulty-store.ts";
import type { NodeLife } from "./node-life.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { RequestKind, Transport } from "./simulated-store.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** The network over which requests travel. */
export interface Network {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  isStoreUp(): boolean;
  /** The fraction of all requests that fail. */
  readonly failing: number;
  /** The time after which a request without a response fails (ms). */
  readonly timeout: number;
  /** The shortest and the longest duration of an upload. */
  readonly upload: readonly [number, number];
  /** The number of pieces of an upload. */
  readonly pieces: number;
  /**
   * Called just before a request is sent and just after it was executed: the moments at which a process may end. The
   * process must not freeze before the request, because no client of any store can prevent its process from being
   * suspended between reading the clock and sending.
   */
  onStep(life: NodeLife, kind: RequestKind, when: "before" | "after"): void;
}

/** Returns the transport of `life` over `network`. A request that was sent is executed even if its sender has ended. */
export function transportOf(life: NodeLife, network: Network): Transport {
  const { time, random } = network;
  return {
    request: (kind, work) =>
      new Promise((resolve, reject) => {
        network.onStep(life, kind, "before");
        if (life.isDead()) return;
        time.plan(random.between(5, 60), () => {
          if (!network.isStoreUp() || random.chance(network.failing / 2)) {
            time.plan(network.timeout, () => life.deliver(() => reject(unreachable())));
            return false;
          }
          const answer = answerOf(work, resolve, reject);
          const isLost = random.chance(network.failing / 2);
          network.onStep(life, kind, "after");
          return life.deliver(isLost ? () => reject(unreachable()) : answer);
        });
      }),
    transfer: () =>
      new Promise((resolve, reject) => {
        const [shortest, longest] = network.upload;
        const took = random.between(shortest, longest) / network.pieces;
        time.plan(took, () => life.deliver(() => (network.isStoreUp() ? resolve() : reject(unreachable()))));
      }),
  };
}

function answerOf<T>(work: () => T, resolve: (value: T) => void, reject: (error: Error) => void): () => void {
  try {
    const value = work();
    return () => resolve(value);
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    return () => reject(error);
  }
}
