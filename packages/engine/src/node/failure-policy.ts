import { backoffMs, type CairnError, type ErrorCode, systemErrorOf } from "@cairn/kv";
import { isUnusableSegment } from "../backup/segments/read-segment.ts";

/**
 * What a node does after an error has interrupted joining or following the log.
 * - `join`: joins again, which determines what is usable and moves the rest aside. With `suspectIndex`, the local index
 *   is moved aside even if it can be opened.
 * - `retry`: joins again after a pause, because only time or an operator can help. `failed`: until then, the node
 *   reports itself as failed.
 * - `await-change`: joins again as soon as the log is a different one, its backup has changed or, with `stores`, there
 *   is a new checkpoint.
 * - `halt`: stops, because continuing could serve data that is not in the log.
 */
export type FailureReaction =
  | { readonly kind: "join"; readonly suspectIndex: boolean }
  | { readonly kind: "retry"; readonly failed: boolean }
  | { readonly kind: "await-change"; readonly stores: boolean }
  | { readonly kind: "halt" };

export const HALT: FailureReaction = { kind: "halt" };

const REACTIONS: Partial<Record<ErrorCode, FailureReaction>> = {
  LOG_UNREACHABLE: { kind: "retry", failed: false },
  STORE_UNREACHABLE: { kind: "retry", failed: false },
  STORE_DENIED: { kind: "retry", failed: true },
  KEY_MISSING: { kind: "retry", failed: true },
  PLAIN_REFUSED: { kind: "retry", failed: true },
  DISK_FULL: { kind: "retry", failed: true },
  SYSTEM_REFUSED: { kind: "retry", failed: true },
  LOG_TRIMMED: { kind: "await-change", stores: true },
  LOG_GAP: { kind: "await-change", stores: true },
  SEGMENT_CORRUPT: { kind: "await-change", stores: true },
  // Changes in the stores are ignored: if the checkpoints disappeared as well, a node that joined because of that would
  // begin an empty log.
  LOG_DIFFERENT: { kind: "await-change", stores: false },
  INDEX_CORRUPT: { kind: "join", suspectIndex: true },
  INDEX_VERSION: { kind: "join", suspectIndex: true },
};

/** While the node follows the log, a mismatch leads back to joining; only there can it halt the node. */
const WHILE_FOLLOWING: Partial<Record<ErrorCode, FailureReaction>> = {
  LOG_REGRESSED: { kind: "join", suspectIndex: false },
  LOG_DIFFERENT: { kind: "join", suspectIndex: false },
  LOG_TRIMMED: { kind: "join", suspectIndex: false },
};

/** What a node was doing: `rejoining` means that its index agreed with the log before. */
type Activity = "opening" | "joining" | "following" | "rejoining";

export function reactionTo(error: CairnError, during: Activity): FailureReaction {
  const { meaning } = systemErrorOf(error.cause) ?? {};
  // The condition is temporary, and usually clears within moments.
  if (meaning === "wait") return { kind: "retry", failed: false };
  // Permissions, unlike the configuration, can be changed while the node runs. So can the settings of a stream: what was
  // right when the node joined can be put right again.
  const hasFollowed = during === "following" || during === "rejoining";
  if (error.code === "CONFIG_INVALID" && (meaning === "denied" || hasFollowed))
    return { kind: "retry", failed: true };
  // The files of an embedded log are damaged. If they were opened while an operator restores them, a partly restored
  // state could be altered.
  if (during === "opening" && error.code === "LOG_GAP") return HALT;
  const following = during === "following" ? WHILE_FOLLOWING[error.code] : undefined;
  return following ?? REACTIONS[error.code] ?? HALT;
}

/** Returns whether an error shows that messages which the node needs cannot be read where its log should be. */
export function isGap(error: CairnError | undefined): boolean {
  return error?.code === "LOG_GAP" || isUnusableSegment(error);
}

/** Returns a sentence for the node's log output that describes a reaction after this many failures without progress. */
export function describeReaction(reaction: FailureReaction, failures: number): string {
  const { kind } = reaction;
  if (kind === "halt") return "The node halts.";
  if (kind === "await-change") {
    return reaction.stores
      ? "The node keeps searching for checkpoints, and joins once there is a new one."
      : "The node stops serving, keeps checking the log, and joins once it is a different one.";
  }
  if (!pausesFirst(kind, failures)) return "The node joins again.";
  return `The node tries again in ${retryDelayMs(failures) / 1_000} s.`;
}

/** A problem that joining can repair is repaired immediately, unless the repair has just failed. */
export function pausesFirst(kind: FailureReaction["kind"], failures: number): boolean {
  return kind === "retry" || failures > 1;
}

export function retryDelayMs(failures: number): number {
  return backoffMs(failures, { firstMs: 200, maxMs: 15_000 });
}
