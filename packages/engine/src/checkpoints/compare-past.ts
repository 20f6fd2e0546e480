import type { CheckpointSource, CheckpointStore } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import type { Chains, TxId } from "@cairn/client";
import type { CheckpointDoubts } from "./checkpoint-doubts.ts";

export interface OtherPast {
  /** The name that is used in messages, such as `node b` or `the checkpoint …`. */
  readonly who: string;
  /** True if read from the store, where forging takes write access. Over the network, any process can send chains. */
  readonly isStored: boolean;
  readonly log: string;
  readonly chains: Chains;
  /** The transaction up to which no log showed this history (`unshown` of a manifest). */
  readonly unshown?: TxId | undefined;
}

/**
 * `settled` means that this node's index is right at the transaction where they differ: a rebuild has proved it, or the
 * log showed this history and not the other one.
 */
export interface PastDifference {
  readonly error: CairnError;
  readonly settled: boolean;
}

/** Undefined if the known parts agree with this node's index, or if they cannot be compared. */
export type ComparePast = (other: OtherPast) => Promise<PastDifference | undefined>;

type Agrees = NonNullable<CheckpointSource["agrees"]>;

/**
 * Returns a function that checks whether a checkpoint agrees with the log and has the same history as the node's index.
 * If the histories differ and it is not settled which is right, the function throws the error, so that the checkpoint
 * does not count as the newest one and no checkpoint is saved. A checkpoint that is found to be wrong counts as
 * damaged.
 */
export function hasSamePast(
  agreesWithLog: Agrees,
  { location }: Pick<CheckpointStore, "location">,
  doubts: CheckpointDoubts,
  comparePast: ComparePast,
): Agrees {
  return async (manifest, name) => {
    if (!(await agreesWithLog(manifest, name))) return false;
    const { node, log, chains, unshown } = manifest;
    const difference = await comparePast({
      who: `the checkpoint ${name} of node ${node} in ${location}`,
      isStored: true,
      log: log.id,
      chains,
      unshown,
    });
    if (difference === undefined) return true;
    if (!difference.settled) throw difference.error;
    doubts.judged(name, false);
    return false;
  };
}
