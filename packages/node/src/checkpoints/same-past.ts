import type { CheckpointSource, CheckpointStore } from "@cairn/checkpoint";
import type { CheckpointDoubts } from "./checkpoint-doubts.ts";
import { type Meet, metCheckpoint } from "./met-chains.ts";

type Agrees = NonNullable<CheckpointSource["agrees"]>;

/**
 * Whether a checkpoint agrees with the log, and its index has the same past as the node's. While it is not settled which of the two is
 * right, the difference is thrown, so that neither passes for the newest checkpoint and nothing is saved; a checkpoint that proved wrong
 * counts as damaged.
 */
export function samePast(
  agreesWithLog: Agrees,
  store: CheckpointStore,
  doubts: CheckpointDoubts,
  meet: Meet,
): Agrees {
  return async (manifest, name) => {
    if (!(await agreesWithLog(manifest, name))) return false;
    const difference = await meet(metCheckpoint(name, store, manifest));
    if (difference === undefined) return true;
    if (!difference.settled) throw difference.error;
    doubts.judged(name, false);
    return false;
  };
}
