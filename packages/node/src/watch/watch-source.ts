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
import { type FairReader, FairReads, type TurnTaken } from "./fair-reads.ts";
import { restAfter } from "./rest.ts";

/** The time of a transaction (undefined where there is none), and the earliest one after which a watch (of a bucket) can begin. */
export interface WatchPlace {
  readonly txTime: string | undefined;
  readonly floor: TxId;
}

/** What watches read: an index's transactions, as changes. */
export interface WatchSource {
  /** The last transaction applied, and its time (ms since 1970). */
  readonly position: { readonly txId: TxId; readonly time: number };
  /** What came up to `position`, for all who watch. `WATCH_COMPACTED` where what is asked for is gone. */
  newest(query: Omit<ChangesQuery, "upTo">): Promise<ChangesPage>;
  /**
   * The same for watchers who are behind: each has its share of the reads, and leaves the indexing its own. Undefined where the reader is
   * gone before its turn.
   */
  past(query: Omit<ChangesQuery, "upTo">, reader: FairReader): Promise<ChangesPage | undefined>;
  /** Where a watch (of `bucket`) would begin after `txId`. Does not wait for reads of the past. Undefined where the reader is gone. */
  place(txId: TxId, bucket: string | undefined, reader: FairReader): Promise<WatchPlace | undefined>;
}

/** So many reads at once for watchers who are behind: more would only stand in the way of the indexing's own. */
const READS_AT_ONCE = 2;
/** Looks at where a watch begins are a few rows each; so many at once keep ahead of the reads of the past. */
const LOOKS_AT_ONCE = 16;

/** The changes in `index`; `suspect` is told what a read ran into. */
export function indexChanges(index: IndexStore, suspect: (error: unknown) => void): WatchSource {
  const pages = new FairReads<ChangesPage>(READS_AT_ONCE);
  const places = new FairReads<WatchPlace>(LOOKS_AT_ONCE);
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
  const inTurn = async (query: Omit<ChangesQuery, "upTo">): Promise<TurnTaken<ChangesPage>> => {
    const begunAt = performance.now();
    const { txId } = index.state;
    const answer = await newest(query);
    // While nothing is indexed there is nobody to leave the thread to.
    const rested = index.state.txId === txId ? undefined : restAfter(performance.now() - begunAt);
    return { answer, rested };
  };
  return {
    get position() {
      return index.state;
    },
    newest,
    past: (query, reader) => pages.read(reader, JSON.stringify(query), () => inTurn(query)),
    // Two rows: whoever comes is told at once where the watch begins, or that it cannot, however many read the past.
    place: (txId, bucket, reader) =>
      places.read(reader, JSON.stringify([txId, bucket]), async () => ({
        answer: await guarded(async (rows, upTo) => ({
          txTime: await transactionTime(rows, txId),
          floor: await changesFloor(rows, { upTo, bucket }),
        })),
      })),
  };
}
