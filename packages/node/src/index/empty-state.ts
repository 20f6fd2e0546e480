import { INDEX_VERSION, type IndexState } from "./rows/index-state.ts";
import type { LogIdentity } from "../log/log-identity.ts";

/** The state of an index of this log before its first message. */
export function emptyState(identity: LogIdentity): IndexState {
  const offset = identity.birth?.offset ?? 0;
  return {
    version: INDEX_VERSION,
    log: { id: identity.id, name: identity.name, offset },
    txId: offset,
    time: 0,
    // Of no message: an index that holds nothing has no anchor (`lastKnown`).
    sha256: "0".repeat(64),
    documents: 0,
  };
}
