import type { IndexState as CapturedState } from "@cairn/checkpoint";
import type { KvReader } from "@cairn/kv";
import { readChains } from "../index/chains/chain-values.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { isoTime } from "../text/iso-time.ts";

/** What an index says of itself, in the form of a checkpoint's manifest. `INDEX_CORRUPT` where its chains are not those of its state. */
export async function capturedState(
  reader: KvReader,
  state: IndexState,
  kvFormat: string,
): Promise<CapturedState> {
  return {
    format: { index: state.version, kv: kvFormat },
    log: { id: state.log.id, name: state.log.name, offset: state.log.offset },
    txId: state.txId,
    txTime: isoTime(state.time),
    anchor: { txId: state.txId, sha256: state.sha256 },
    chains: await readChains(reader, state),
    documents: state.documents,
  };
}
