import type { IndexState as CapturedState } from "@cairn/checkpoint";
import type { IndexState } from "../index/rows/index-state.ts";
import { isoTime } from "../text/iso-time.ts";

/** An index's state in the form of a checkpoint's manifest. */
export function capturedState(state: IndexState, kvFormat: string): CapturedState {
  return {
    format: { index: state.version, kv: kvFormat },
    log: { id: state.log.id, name: state.log.name, offset: state.log.offset },
    txId: state.txId,
    txTime: isoTime(state.time),
    anchor: { txId: state.txId, sha256: state.sha256 },
    documents: state.documents,
  };
}
