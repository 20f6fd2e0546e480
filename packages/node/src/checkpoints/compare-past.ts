import type { CheckpointSource, CheckpointStore } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import type { Chains } from "@cairn/client";
import type { CheckpointDoubts } from "./checkpoint-doubts.ts";

/** The chains of another node, or of the index in a checkpoint. */
export interface OtherPast {
  /** Named in messages: `node b`, `the checkpoint …`. */
  readonly who: string;
  /** Read from the checkpoint store, which needs write access to forge. What comes over the network can be sent by anyone. */
  readonly isStored: boolean;
  /** The id of the log. */
  readonly log: string;
  readonly chains: { readonly version: number; readonly values: Chains };
}

/** A difference between another past and this node's. `settled`: this node's index was already found to be right at that place. */
export interface PastDifference {
  readonly error: CairnError;
  readonly settled: boolean;
}

/** Compares another past with this node's index. Undefined if they agree as far as both are known, or cannot be compared. */
export type ComparePast = (other: OtherPast) => Promise<PastDifference | undefined>;

type Agrees = NonNullable<CheckpointSource["agrees"]>;

/**
 * Returns the check whether a checkpoint agrees with the log and has the same past as the node's index. While it is not settled which of
 * the two is right, it throws the difference, so that neither counts as the newest checkpoint and nothing is saved. A checkpoint that
 * proved wrong counts as damaged.
 */
export function hasSamePast(
  agreesWithLog: Agrees,
  { location }: Pick<CheckpointStore, "location">,
  doubts: CheckpointDoubts,
  comparePast: ComparePast,
): Agrees {
  return async (manifest, name) => {
    if (!(await agreesWithLog(manifest, name))) return false;
    const { node, log, format, chains = [] } = manifest;
    const difference = await comparePast({
      who: `the checkpoint ${name} of node ${node} in ${location}`,
      isStored: true,
      log: log.id,
      chains: { version: format.index, values: chains },
    });
    if (difference === undefined) return true;
    if (!difference.settled) throw difference.error;
    doubts.judged(name, false);
    return false;
  };
}
