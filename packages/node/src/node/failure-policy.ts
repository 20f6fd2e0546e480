import { backoffMs, type CairnError, type ErrorCode, systemCauseOf } from "@cairn/kv";

/**
 * What a node does after an error ended its reading of the log. `join`: goes through joining again, which finds out what can be
 * used and moves aside what cannot. `retry`: the same after a pause, since only time or a person can mend it; `failed` says whether
 * the node calls itself failed meanwhile. `look`: joins again as soon as the log is another one, or, with `stores`, there is something else to join from. `halt`: stops, because going
 * on could serve what is not the log's.
 */
export type FailureReaction =
  | { readonly kind: "join"; readonly suspectIndex: boolean }
  | { readonly kind: "retry"; readonly failed: boolean }
  | { readonly kind: "look"; readonly stores: boolean }
  | { readonly kind: "halt" };

const REACTIONS: Partial<Record<ErrorCode, FailureReaction>> = {
  LOG_UNREACHABLE: { kind: "retry", failed: false },
  STORE_UNREACHABLE: { kind: "retry", failed: false },
  STORE_DENIED: { kind: "retry", failed: true },
  DISK_FULL: { kind: "retry", failed: true },
  SYSTEM_REFUSED: { kind: "retry", failed: true },
  LOG_TRIMMED: { kind: "look", stores: true },
  LOG_GAP: { kind: "look", stores: true },
  // Never because its checkpoints are gone: a node that finds neither begins an empty log.
  LOG_DIFFERENT: { kind: "look", stores: false },
  INDEX_CORRUPT: { kind: "join", suspectIndex: true },
  INDEX_VERSION: { kind: "join", suspectIndex: true },
};

/** While following the log, its mismatches lead back to joining, where they are judged; there they halt the node. */
const WHILE_FOLLOWING: Partial<Record<ErrorCode, FailureReaction>> = {
  LOG_REGRESSED: { kind: "join", suspectIndex: false },
  LOG_DIFFERENT: { kind: "join", suspectIndex: false },
  LOG_TRIMMED: { kind: "join", suspectIndex: false },
};

/** The reaction to `error`, which came while opening the log, while joining, or while following the log. */
export function reactionTo(error: CairnError, during: "opening" | "joining" | "following"): FailureReaction {
  const { meaning } = systemCauseOf(error) ?? {};
  // It comes back by itself, and within moments as a rule.
  if (meaning === "wait") return { kind: "retry", failed: false };
  // Rights may be given while the node runs, unlike a configuration.
  if (meaning === "denied" && error.code === "CONFIG_INVALID") return { kind: "retry", failed: true };
  // The files of an embedded log are damaged. Opening them again while somebody restores them could change what is half there.
  if (during === "opening" && error.code === "LOG_GAP") return { kind: "halt" };
  const following = during === "following" ? WHILE_FOLLOWING[error.code] : undefined;
  return following ?? REACTIONS[error.code] ?? { kind: "halt" };
}

/** What comes of a reaction, in the words of a log line: after so many failures without a step forward. */
export function sayReaction(reaction: FailureReaction, failures: number): string {
  const { kind } = reaction;
  if (kind === "halt") return "The node halts.";
  if (kind === "look") {
    return reaction.stores
      ? "The node looks for a checkpoint again and again, and joins when there is another one."
      : "The node stops serving, looks at the log again and again, and joins when it is another one.";
  }
  if (!waitsFirst(kind, failures)) return "The node joins again.";
  return `The node tries again in ${retryDelayMs(failures) / 1_000} s.`;
}

/** Whether the next try waits: what joining can mend by itself it mends at once, unless it has just failed to. */
export function waitsFirst(kind: FailureReaction["kind"], failures: number): boolean {
  return kind === "retry" || failures > 1;
}

/** Returns how long the node waits before it tries again, after so many failures without progress (ms). */
export function retryDelayMs(failures: number): number {
  return backoffMs(failures, { firstMs: 200, maxMs: 15_000 });
}
