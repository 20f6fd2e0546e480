import type { Anchor } from "../log/anchor.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { type IndexState, statePosition } from "./rows/index-state.ts";

/** What makes the log's positions into tx-ids. `state` is that of an index which agrees with the log. */
export function logOffset({ birth }: LogIdentity, state: IndexState): number {
  return birth?.offset ?? state.log.offset;
}

/**
 * The last message of the log that an index which agrees with it holds. Undefined when it holds none yet: because it is empty, or
 * ends where the log it is of is continued by this one, which then comes from its birth record on.
 */
export function lastKnown({ id }: LogIdentity, state: IndexState): Anchor | undefined {
  const position = statePosition(state);
  if (state.log.id !== id || position === 0) return undefined;
  return { position, sha256: state.sha256 };
}
