import type { CheckpointSource, CheckpointStore } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import type { Chains } from "@cairn/client";
import type { CheckpointDoubts } from "./checkpoint-doubts.ts";

/** The chains of another node, or of the index in a checkpoint. */
export interface OtherPast {
  /** The name used in messages: `node b`, `the checkpoint …`. */
  readonly who: string;
  /**
   * Whether the chains were read from the checkpoint store, where forging them needs write access. Anyone can send chains over the network.
   */
  readonly isStored: boolean;
  /** The id of the log. */
  readonly log: string;
  readonly chains: { readonly version: number; readonly values: Chains };
}

/**
 * A difference between another history and this node's. `settled` means that this node's index has already been found
 * right at that transaction.
 */
export interface PastDifference {
  readonly error: CairnError;
  readonly settled: boolean;
}

/**
 * Compares another history with this node's index. Returns undefined if the known parts agree, or if they cannot be
 * compared.
 */
export type ComparePast = (other: OtherPast) => Promise<PastDifference | undefined>;

type Agrees = NonNullable<CheckpointSource["agrees"]>;

/**
 * Returns a check of whether a checkpoint agrees with the log and has the same history as the node's index. Until it is
 * settled which of the two is right, the check throws the difference, so that neither counts as the newest checkpoint
 * and nothing is saved. A checkpoint found to be wrong counts as damaged.
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
