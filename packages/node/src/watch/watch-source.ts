import type { IndexStore } from "../index-store/index-store.ts";
import {
  type ChangesPage,
  type ChangesQuery,
  changesFloor,
  readChanges,
  transactionTime,
} from "../index-store/transaction-changes.ts";
import type { TxId } from "../tx-log/transaction.ts";

/** What watches read: an index's transactions, as changes. */
export interface WatchSource {
  /** The last transaction applied, and its time (ms since 1970). */
  readonly position: { readonly txId: TxId; readonly time: number };
  /** Up to `position` where the query does not say. `WATCH_COMPACTED` where the past asked for is gone. */
  changes(query: Omit<ChangesQuery, "upTo">): Promise<ChangesPage>;
  /** The time of a transaction (undefined where there is none), and the earliest one after which a watch (of `bucket`) can begin. */
  place(txId: TxId, bucket?: string): Promise<{ readonly txTime: string | undefined; readonly floor: TxId }>;
}

/** So many reads at once for watchers who are behind: more would only stand in the way of the indexing's own. */
const READS_AT_ONCE = 2;

/** The changes in `index`; `suspect` is told what a read ran into. */
export function indexChanges(index: IndexStore, suspect: (error: unknown) => void): WatchSource {
  const turns = new Turns(READS_AT_ONCE);
  const guarded = async <T>(read: () => Promise<T>): Promise<T> => {
    await turns.take();
    try {
      return await read();
    } catch (error) {
      suspect(error);
      throw error;
    } finally {
      turns.give();
    }
  };
  return {
    get position() {
      return index.state;
    },
    changes: async (query) =>
      await guarded(() => {
        const upTo = index.state.txId;
        return index.read((reader) => readChanges(reader, { ...query, upTo }));
      }),
    place: async (txId, bucket) =>
      await guarded(() => {
        const upTo = index.state.txId;
        return index.read(async (reader) => ({
          txTime: await transactionTime(reader, txId),
          floor: await changesFloor(reader, { upTo, bucket }),
        }));
      }),
  };
}

/** Lets a few go on at a time, the others in the order in which they came. */
class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
