import type { IndexState as CapturedState } from "@cairn/checkpoint";
import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { readChains } from "../index/chains/chain-values.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { purgedUpTo } from "../index/rows/purge-row.ts";
import { isoTime } from "../text/iso-time.ts";

/**
 * What an index says of itself, in the form of a checkpoint's manifest, with its chains at `others` as well. `INDEX_CORRUPT` where its
 * chains are not those of its state.
 */
export async function capturedState(
  reader: KvReader,
  state: IndexState,
  kvFormat: string,
  others: readonly TxId[] = [],
): Promise<CapturedState> {
  return {
    format: { index: state.version, kv: kvFormat },
    log: { id: state.log.id, name: state.log.name, offset: state.log.offset },
    txId: state.txId,
    txTime: isoTime(state.time),
    anchor: { txId: state.txId, sha256: state.sha256 },
    chains: await readChains(reader, state, others),
    purged: await purgedUpTo(reader, state.txId),
    documents: state.documents,
  };
}
