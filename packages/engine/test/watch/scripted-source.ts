import type { ChangesPage, ReadTransaction } from "../../src/index/read/transaction-changes.ts";
import type { TransactionEvent } from "../../src/index/read/transaction-event.ts";
import { compacted } from "../../src/index/read/watch-compacted.ts";
import { type FairRead, type FairReader, FairReads } from "../../src/watch/fair-reads.ts";
import { PageMemory } from "../../src/watch/page-memory.ts";
import { WatchFeed, FEED_BOUNDS, type FeedBounds, type FeedListener } from "../../src/watch/watch-feed.ts";
import type { WatchSource } from "../../src/watch/watch-source.ts";
import { madePlace, madePosition } from "@cairn/test-support/nodes/positions";

/** A history written by a test, in place of an index. */
export class ScriptedSource implements WatchSource {
  readonly #transactions: TransactionEvent[] = [];
  /** Transactions up to this one are no longer available. */
  floor = 0;
  /** The error with which reads fail, if it is set. */
  error: Error | undefined;
  /** Awaited by each read, whether of a bucket or of everything. */
  before: (bucket: string | undefined) => Promise<void> = () => Promise.resolve();
  /** The positions after which reads began. */
  readonly reads: number[] = [];
  /** The transactions for which `place` was called. */
  readonly places: number[] = [];
  /** The last transaction of the log, of which the index may have only a part. */
  end: number | undefined;
  /** The number of times that a watch was compared with the end of the log. */
  comparisons = 0;
  #txId = 1;
  readonly pages: PageMemory;
  readonly #fair: FairReads<ChangesPage>;

  constructor(pages = new PageMemory()) {
    this.pages = pages;
    this.#fair = new FairReads<ChangesPage>(2, pages);
  }

  get position(): WatchSource["position"] {
    return { ...madePlace(this.#txId), time: this.#txId * 1_000 };
  }

  logEnd(): Promise<number | undefined> {
    this.comparisons += 1;
    return Promise.resolve(this.end);
  }

  /** Appends transactions, each with one put. `bytes` is the size of each document. */
  append(count: number, { bucket = "pods", bytes = 10 } = {}): void {
    for (let n = 0; n < count; n += 1) {
      this.#txId += 1;
      const txId = this.#txId;
      const json = JSON.stringify("x".repeat(bytes));
      const change = {
        op: "put" as const,
        bucket,
        namespace: "default",
        name: `k${txId}`,
        revision: txId,
        json,
      };
      this.#transactions.push({ type: "tx", ...transactionAt(txId), changes: [change] });
    }
  }

  async past(
    query: Parameters<WatchSource["past"]>[0],
    reader: FairReader,
  ): Promise<ChangesPage | undefined> {
    const read = async (): Promise<FairRead<ChangesPage>> => ({ answer: await this.newest(query) });
    return await this.#fair.read(reader, JSON.stringify(query), read);
  }

  keepApplied(): () => void {
    return () => {};
  }

  applied(): undefined {
    return undefined;
  }

  states(): Promise<never> {
    return Promise.reject(new Error("a script has no states"));
  }

  async newest({
    after,
    bucket,
    maxTransactions,
    maxBytes,
  }: Parameters<WatchSource["newest"]>[0]): Promise<ChangesPage> {
    this.reads.push(after);
    await this.before(bucket);
    if (this.error !== undefined) throw this.error;
    if (after < this.floor) throw compacted(after, madePosition(this.floor));
    const most = Math.min(this.#txId, after + maxTransactions);
    let bytes = 0;
    const read = this.#transactions.filter(({ txId }) => txId > after && txId <= most);
    const upTo = read.find((one) => (bytes += JSON.stringify(one).length) >= maxBytes)?.txId ?? most;
    const transactions = read
      .filter(({ txId }) => txId <= upTo)
      .filter(({ changes }) => bucket === undefined || changes.some((change) => change.bucket === bucket));
    return { transactions, end: transactionAt(upTo), bytes: JSON.stringify(transactions).length };
  }

  place(txId: number): ReturnType<WatchSource["place"]> {
    this.places.push(txId);
    return Promise.resolve({ at: transactionAt(txId), floor: madePlace(this.floor) });
  }
}

/** Returns a feed of a scripted source, with bounds that a test can reach. */
export function scriptedFeed(
  source: ScriptedSource,
  bounds: Partial<FeedBounds> = {},
): { feed: WatchFeed; errors: string[]; told: string[]; append: ScriptedSource["append"] } {
  const errors: string[] = [];
  const told: string[] = [];
  const listener: FeedListener = {
    opened: () => told.push("opened"),
    closed: () => told.push("closed"),
    cutOff: (reason) => told.push(`cut off: ${reason}`),
    failed: ({ code }) => errors.push(code),
  };
  const feed = new WatchFeed(source, listener, { ...FEED_BOUNDS, ...bounds });
  const append: ScriptedSource["append"] = (...what) => {
    source.append(...what);
    feed.advanced();
  };
  return { feed, errors, told, append };
}

function transactionAt(txId: number): ReadTransaction {
  return { txId, txTime: new Date(txId * 1_000).toISOString(), position: madePosition(txId) };
}
