import { closing, type KvProvider, unlessFailed } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { countOrphans, type QuarantinedIndex } from "../db-dir/quarantine.ts";
import type { IndexStore } from "../index/index-store.ts";
import { fileReader, openIndex } from "../index/local-index.ts";
import { FIRST_TX_ID } from "../index/rows/index-state.ts";
import { orphanTransactions } from "../join/orphan-transactions.ts";

/**
 * Returns a function that counts the transactions that `index` lacks and indexes in quarantine contain. While a node runs, they may be loaded again (`cairn
 * load`), or given up by removing their folder. What a comparison at a join has shown stays recorded with them.
 */
export function orphanCount(
  directory: IndexDirectory,
  provider: KvProvider,
): (index: IndexStore) => Promise<number> {
  /** The last transaction of each folder up to which all are in the log again. */
  const loaded = new Map<string, TxId>();

  async function advance({ folder, live, held }: QuarantinedIndex, index: IndexStore): Promise<void> {
    const { txId, shared = FIRST_TX_ID } = held;
    const after = loaded.get(folder) ?? shared;
    if (txId === undefined || after >= txId) return;
    const { kv, state } = await openIndex(fileReader(provider), live);
    await closing(kv, async () => {
      if (state === undefined) return;
      for await (const orphan of orphanTransactions(kv, state, shared, after)) {
        const { id } = JSON.parse(orphan.line ?? "{}") as { readonly id?: string };
        if (id !== undefined && (await index.ownerOf(id)) === undefined) return;
        loaded.set(folder, orphan.txId);
      }
      loaded.set(folder, txId);
    });
  }

  return async (index) => {
    const indexes = await directory.readQuarantine();
    // An index may be damaged, or open in a command that prints its transactions.
    for (const one of indexes) if (one.holdsLost) await unlessFailed(advance(one, index), "any", undefined);
    const remaining = indexes.map(({ held, ...one }) => {
      const shared = Math.max(held.shared ?? FIRST_TX_ID, loaded.get(one.folder) ?? 0);
      return { ...one, held: { ...held, shared } };
    });
    return countOrphans(remaining, index.state.log.id);
  };
}
