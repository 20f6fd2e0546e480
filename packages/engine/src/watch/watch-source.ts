import { coalesced, type KvReader, unlessFailed } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexState } from "../index/rows/index-state.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";
import {
  type ChangesPage,
  type ChangesQuery,
  changesFloor,
  readChanges,
  transactionAt,
} from "../index/read/transaction-changes.ts";
import type { MarkedPlace } from "@cairn/text";
import type { WatchedPosition } from "./watch-event.ts";
import { type FairRead, type FairReader, FairReads, pauseAfter } from "./fair-reads.ts";
import type { StatesOfKeys } from "../index/read/states.ts";
import { PAGE_MEMORY, type PageMemory } from "./page-memory.ts";

/** A transaction (undefined if there is none), and the earliest one after which a watch (of a bucket) can begin. */
interface WatchPlace {
  readonly at: WatchedPosition | undefined;
  readonly floor: MarkedPlace;
}

export interface WatchSource {
  /** The last transaction applied, and its time (ms since 1970). */
  readonly position: MarkedPlace & { readonly time: number };
  /** Returns the last transaction of the log; undefined if the node does not know it. */
  logEnd(): Promise<TxId | undefined>;
  /** Begins to keep what is applied, for {@link applied}. Returns a function that ends it. */
  keepApplied(): () => void;
  /** Returns changes up to `position`, for all watchers, as they were applied; undefined if they are not kept. */
  applied(query: NewestQuery): ChangesPage | undefined;
  /** Like {@link applied}, but reads the index. Throws `WATCH_COMPACTED` if the changes were removed. */
  newest(query: NewestQuery): Promise<ChangesPage>;
  /** Where pages of the past count until their readers release them. */
  readonly pages: PageMemory;
  /**
   * Watchers get fair shares of reads, and indexing its own. The reader holds the page in `pages`, and there is none
   * while these are full. Undefined if the reader is gone before its turn.
   */
  past(query: Omit<ChangesQuery, "upTo">, reader: FairReader): Promise<ChangesPage | undefined>;
  /** Reads the index for followers, like {@link past}. Reads with the same `key` are interchangeable. */
  states<T extends StatesPage>(reader: FairReader, key: string, read: StatesRead<T>): Promise<T | undefined>;
  /** Returns where a watch after `txId` would begin, ahead of reads of the past; undefined if the reader is gone. */
  place(txId: TxId, bucket: string | undefined, reader: FairReader): Promise<WatchPlace | undefined>;
}

type NewestQuery = Omit<ChangesQuery, "upTo">;
type StatesPage = Pick<StatesOfKeys, "changes">;
type StatesRead<T> = (rows: KvReader, state: IndexState) => Promise<T>;

/** The maximum number of concurrent reads for lagging watchers. More reads would only delay indexing. */
const MAX_PAST_READS = 2;
/** These reads need only a few rows each, and overtake the reads of the past. */
const MAX_PLACE_READS = 16;

/**
 * Returns the changes of `index`, which follows `log`, as a source of watches. Errors of reads are also passed to
 * `suspect`.
 */
export function indexChanges(
  index: IndexStore,
  log: Pick<TxLog, "bounds" | "backup">,
  suspect: (error: unknown) => void,
): WatchSource {
  const reads = new FairReads<ChangesPage>(MAX_PAST_READS, PAGE_MEMORY);
  const states = new FairReads<StatesPage>(MAX_PAST_READS, {
    get isFull() {
      return PAGE_MEMORY.isFull;
    },
    wait: (retry) => PAGE_MEMORY.wait(retry),
    hold: (reader, page) => PAGE_MEMORY.hold(reader, { transactions: [page] }),
  });
  const places = new FairReads<WatchPlace>(MAX_PLACE_READS);
  const ask = async <T>(read: StatesRead<T>): Promise<T> => {
    try {
      return await index.ask(read);
    } catch (error) {
      suspect(error);
      throw error;
    }
  };
  const newest: WatchSource["newest"] = (query) =>
    ask((rows, { txId: upTo }) => readChanges(rows, { ...query, upTo }));
  const inTurn = async <T>(read: () => Promise<T>): Promise<FairRead<T>> => {
    const begunAt = performance.now();
    const { txId } = index.state;
    const answer = await read();
    // While no message is being indexed, no time needs to be left for indexing.
    const pause = index.state.txId === txId ? undefined : pauseAfter(performance.now() - begunAt);
    return { answer, pause };
  };
  return {
    get position() {
      return index.state;
    },
    keepApplied: () => index.changes.open(),
    applied: (query) => index.changes.read(query, index.state),
    newest,
    pages: PAGE_MEMORY,
    logEnd: coalesced(async () => {
      // A backup lags behind its log, which may contain more.
      if (log.backup !== undefined) return undefined;
      const bounds = await unlessFailed(log.bounds(), "any", undefined);
      return bounds && bounds.last + index.state.log.offset;
    }),
    past: (query, reader) => reads.read(reader, JSON.stringify(query), () => inTurn(() => newest(query))),
    states: async <T extends StatesPage>(reader: FairReader, key: string, read: StatesRead<T>) =>
      (await states.read(reader, key, () => inTurn(() => ask(read)))) as T | undefined,
    // Reads only two rows, so that new watchers soon learn where they begin, however many others read the past.
    place: (txId, bucket, reader) =>
      places.read(reader, JSON.stringify([txId, bucket]), async () => ({
        answer: await ask(async (rows, { txId: upTo }) => ({
          at: await transactionAt(rows, txId),
          floor: await changesFloor(rows, { upTo, bucket }),
        })),
      })),
  };
}
