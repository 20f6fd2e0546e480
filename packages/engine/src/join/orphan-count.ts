import type { TxId } from "@cairn/client";
import { isCairnError, type KvProvider } from "@cairn/kv";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import type { QuarantinedIndex } from "../db-dir/quarantine.ts";
import type { IndexStore } from "../index/index-store.ts";
import { readIndex } from "../index/local-index.ts";
import { FIRST_TX_ID } from "../index/rows/index-state.ts";
import { historyOfOrphans, type OrphanTransaction, orphanTransactions } from "./orphan-transactions.ts";
import {
  comparedWith,
  contentName,
  type History,
  historyOfRows,
  type SoughtTransaction,
  SoughtTransactions,
} from "./same-transactions.ts";

/** The maximum number of lost transactions to remember. Others are sought once all of these were loaded again. */
const REMEMBERED = 10_000;

interface Lost extends SoughtTransaction {
  readonly folder: string;
}

/**
 * Counts the transactions that a node's index lacks and indexes in quarantine contain, each once. While a node runs, they
 * may be loaded again (`cairn load`), or given up by removing their folder. The result is recorded with each index for the
 * next start, which shows it again, because the log may have lost them once more.
 */
export class OrphanCount {
  readonly #directory: IndexDirectory;
  readonly #provider: KvProvider;
  #index: IndexStore | undefined;
  /** The folders that were compared with the index, and the last transaction with which they were. */
  #compared: { readonly folders: string; readonly upTo: TxId } | undefined;
  #lost = new SoughtTransactions<Lost>();
  readonly #counts = new Map<string, number>();

  constructor(directory: IndexDirectory, provider: KvProvider) {
    this.#directory = directory;
    this.#provider = provider;
  }

  async count(index: IndexStore): Promise<number> {
    const indexes = (await this.#directory.readQuarantine()).filter(({ holdsLost }) => holdsLost);
    const folders = indexes.map(({ folder }) => folder).join("\n");
    const { txId: upTo, log } = index.state;
    const isForgotten = this.#lost.size === 0 && [...this.#counts.values()].some((count) => count > 0);
    if (this.#index !== index || this.#compared?.folders !== folders || isForgotten) {
      this.#index = index;
      const isWhole = await this.#compareAll(indexes, index, upTo);
      this.#compared = isWhole ? { folders, upTo } : undefined;
    } else {
      const newest = historyOfRows(index.rows, this.#compared.upTo, upTo);
      for await (const held of this.#lost.size === 0 ? [] : newest())
        for (const one of held) this.#add(this.#lost.take(one)?.folder, -1);
      this.#compared = { folders, upTo };
    }
    for (const { folder, holdsLost, held } of indexes) {
      const lost = this.#counts.get(folder);
      if (held.txId !== undefined && lost !== undefined && lost !== held.lost)
        await this.#directory.note(folder, { holdsLost, held: { ...held, txId: held.txId, lost } });
    }
    return await this.#directory.countOrphans(log.id);
  }

  #add(folder: string | undefined, count: number): void {
    if (folder !== undefined) this.#counts.set(folder, (this.#counts.get(folder) ?? 0) + count);
  }

  /** Returns false if an index is open in a command that prints its transactions. A damaged one counts as it did. */
  async #compareAll(indexes: readonly QuarantinedIndex[], index: IndexStore, upTo: TxId): Promise<boolean> {
    this.#lost = new SoughtTransactions();
    this.#counts.clear();
    const older: History[] = [];
    let isWhole = true;
    for (const { folder, live, held } of indexes) {
      const { txId, shared = FIRST_TX_ID } = held;
      if (txId === undefined || txId <= shared) continue;
      try {
        const newest = historyOfRows(index.rows, Math.min(shared, upTo), upTo);
        await readIndex(this.#provider, live, async ({ kv, state }) => {
          if (state === undefined) return;
          await this.#compare(folder, orphanTransactions(kv, state, shared), index, [newest, ...older]);
        });
        older.push(historyOfOrphans(this.#provider, live, shared));
      } catch (error) {
        this.#counts.delete(folder);
        if (!isCairnError(error)) throw error;
        isWhole &&= error.code !== "INDEX_LOCKED";
      }
    }
    return isWhole;
  }

  async #compare(
    folder: string,
    orphans: ReturnType<typeof orphanTransactions>,
    index: IndexStore,
    histories: readonly History[],
  ): Promise<void> {
    this.#counts.set(folder, 0);
    for await (const { one, isHeld } of comparedWith(orphans, histories)) {
      const { names, weakNames, id, line } = one;
      if (line === undefined || isHeld || (await isRemembered(one, index))) continue;
      this.#add(folder, 1);
      if (this.#lost.size < REMEMBERED) this.#lost.add({ names, weakNames, id, folder });
    }
  }
}

/** The outcome of a transaction may have been removed before its id. */
async function isRemembered(
  { id, derivedId, names }: OrphanTransaction,
  index: IndexStore,
): Promise<boolean> {
  const owner = await index.ownerOf(id);
  const isOwn = owner !== undefined && names.includes(contentName(owner));
  return isOwn || (await index.ownerOf(derivedId)) !== undefined;
}
