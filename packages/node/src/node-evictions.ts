import { listCheckpoints } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import { everyStore } from "./node-checkpoints.ts";
import { askBounds } from "./node-status.ts";
import type { EvictionPage } from "./index-store/eviction-reads.ts";
import type { IndexState } from "./index-store/index-state.ts";
import type { EvictionsPage } from "./state-api.ts";
import type { System } from "./system/system.ts";
import type { TxLog } from "./tx-log/tx-log.ts";
import type { TxId } from "./tx-log/transaction.ts";

/** Adds to evictions where the bytes of what was evicted may still be: in the log until it is trimmed, in older checkpoints. */
export async function evictionPlaces(
  { evictions, ...page }: EvictionPage,
  { log }: IndexState,
  txLog: TxLog | undefined,
  checkpointer: System["checkpointer"],
): Promise<EvictionsPage> {
  const first = evictions.length === 0 ? undefined : await firstOfLog(txLog, log.offset);
  const saved = evictions.length === 0 ? [] : await savedCheckpoints(checkpointer, log);
  return {
    ...page,
    evictions: evictions.map((eviction) => ({
      ...eviction,
      log:
        first === undefined || first >= eviction.txId
          ? null
          : { firstTxId: first, lastTxId: eviction.txId - 1 },
      checkpoints: saved?.filter(({ txId }) => txId < eviction.txId).map(({ name }) => name) ?? null,
    })),
  };
}

/** As long as the log does not say that they are gone, all of its transactions may be there. */
async function firstOfLog(log: TxLog | undefined, offset: number): Promise<TxId> {
  const bounds = await askBounds(log);
  return (bounds?.first ?? 1) + offset;
}

/** Of all stores that the node knows; null where one does not answer: nothing is said to be gone that may be there. */
async function savedCheckpoints(
  checkpointer: System["checkpointer"],
  { id, offset }: IndexState["log"],
): Promise<{ name: string; txId: TxId }[] | null> {
  const found = new Map<string, TxId>();
  for (const one of everyStore(checkpointer)) {
    try {
      const { checkpoints } = await listCheckpoints(one);
      for (const { name, txId, log } of checkpoints) {
        // Those of a log that this one continues end where it began.
        if (log.id === id || txId <= offset) found.set(name, txId);
      }
    } catch (error) {
      if (isCairnError(error, "STORE_UNREACHABLE") || isCairnError(error, "STORE_DENIED")) return null;
      throw error;
    }
  }
  return [...found].map(([name, txId]) => ({ name, txId }));
}
