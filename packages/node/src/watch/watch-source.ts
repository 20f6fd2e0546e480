import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexStore } from "../index/index-store.ts";
import {
  type ChangesPage,
  type ChangesQuery,
  changesFloor,
  readChanges,
  transactionTime,
} from "../index/read/transaction-changes.ts";
import { Turns } from "../concurrency/turns.ts";
import { restAfter } from "./rest.ts";

/** What watches read: an index's transactions, as changes. */
export interface WatchSource {
  /** The last transaction applied, and its time (ms since 1970). */
  readonly position: { readonly txId: TxId; readonly time: number };
  /** What came up to `position`, for all who watch. `WATCH_COMPACTED` where what is asked for is gone. */
  newest(query: Omit<ChangesQuery, "upTo">): Promise<ChangesPage>;
  /** The same for one watcher who is behind; many who ask wait for one another, and for the indexing. */
  past(query: Omit<ChangesQuery, "upTo">): Promise<ChangesPage>;
  /** The time of a transaction (undefined where there is none), and the earliest one after which a watch (of `bucket`) can begin. */
  place(txId: TxId, bucket?: string): Promise<{ readonly txTime: string | undefined; readonly floor: TxId }>;
}

/** So many reads at once for watchers who are behind: more would only stand in the way of the indexing's own. */
const READS_AT_ONCE = 2;

/** The changes in `index`; `suspect` is told what a read ran into. */
export function indexChanges(index: IndexStore, suspect: (error: unknown) => void): WatchSource {
  const turns = new Turns(READS_AT_ONCE);
  const guarded = async <T>(read: (reader: KvReader, upTo: TxId) => Promise<T>): Promise<T> => {
    const upTo = index.state.txId;
    try {
      return await index.read((reader) => read(reader, upTo));
    } catch (error) {
      suspect(error);
      throw error;
    }
  };
  const newest: WatchSource["newest"] = (query) =>
    guarded((reader, upTo) => readChanges(reader, { ...query, upTo }));
  const inTurn = async <T>(read: () => Promise<T>): Promise<T> => {
    const giveTurn = await turns.take();
    const begunAt = performance.now();
    const { txId } = index.state;
    try {
      return await read();
    } finally {
      // While nothing is indexed there is nobody to leave the thread to. The turn is held meanwhile, the answer is not.
      const resting = index.state.txId === txId ? undefined : restAfter(performance.now() - begunAt);
      if (resting === undefined) giveTurn();
      else void resting.then(giveTurn);
    }
  };
  return {
    get position() {
      return index.state;
    },
    newest,
    past: (query) => inTurn(() => newest(query)),
    place: (txId, bucket) =>
      inTurn(() =>
        guarded(async (reader, upTo) => ({
          txTime: await transactionTime(reader, txId),
          floor: await changesFloor(reader, { upTo, bucket }),
        })),
      ),
  };
}
