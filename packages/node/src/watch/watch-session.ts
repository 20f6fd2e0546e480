import { isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { checkQuery } from "./check-query.ts";
import type { Batch, Subscription } from "./subscription.ts";
import type { FairReader } from "./fair-reads.ts";
import { type CutoffEvent, type Watch, type WatchEvent, type WatchQuery } from "./watch-event.ts";
import { compacted, regressed, WatchCompactedError } from "../index/read/watch-compacted.ts";
import { type FeedEnd, timeOf, type WatchFeed } from "./watch-feed.ts";

const HEARTBEAT_MS = 10_000;
/** A reader who is behind holds one such page, so that a thousand of them hold little. */
const PAST_TRANSACTIONS = 512;
const PAST_BYTES = 64 * 1024;
/** The first pages are smaller, each twice as large as the one before: of a thousand who come at once everyone soon has something. */
const FIRST_TRANSACTIONS = 32;

const SLOW: FeedEnd = {
  reason: "slow",
  message: "The reader takes less than what comes. Open the watch again from here.",
};

/** Everything up to `txId` was told. */
interface Place {
  readonly txId: TxId;
  readonly txTime: string | null;
}

/** A watch of the feed that `open` gives, which is asked for when the watch is looped over. */
export function watch(query: WatchQuery, open: () => WatchFeed): Watch {
  const batches = (): AsyncIterable<readonly WatchEvent[]> => watchBatches(query, open);
  return {
    batches,
    async *[Symbol.asyncIterator]() {
      for await (const events of batches()) yield* events;
    },
  };
}

async function* watchBatches(
  query: WatchQuery,
  open: () => WatchFeed,
): AsyncGenerator<readonly WatchEvent[], void> {
  checkQuery(query);
  const feed = open();
  feed.listener.opened();
  try {
    yield* new WatchSession(feed, query).run();
  } finally {
    feed.listener.closed();
  }
}

/** One watcher's way: from the past, as fast as it reads, into what comes. */
class WatchSession {
  readonly #feed: WatchFeed;
  readonly #query: WatchQuery;
  readonly #heartbeatMs: number;
  readonly #reader: FairReader;
  #place: Place;
  #toldAt = performance.now();
  /** The cutoff was told: the session's own, that of the feed's end comes behind all. */
  #cut = false;

  constructor(feed: WatchFeed, query: WatchQuery) {
    this.#feed = feed;
    this.#query = query;
    this.#reader = { served: 0, signal: query.signal };
    this.#heartbeatMs = query.heartbeatMs ?? HEARTBEAT_MS;
    const { position } = feed.source;
    this.#place =
      query.from === undefined
        ? { txId: position.txId, txTime: timeOf(position) }
        : { txId: query.from, txTime: null };
  }

  async *run(): AsyncGenerator<readonly WatchEvent[], void> {
    if (this.#feed.source.position.txId < this.#place.txId) yield* this.#awaitBegin();
    // Where the node stands now there is nothing to look for.
    else if (this.#query.from !== undefined) await this.#checkBegin();
    if (this.#isOver) return;
    yield this.#tell([{ type: "heartbeat", ...this.#place }]);
    let reread = false;
    while (!this.#isOver) {
      const subscription: Subscription | undefined = reread
        ? undefined
        : this.#feed.subscribe(this.#query, this.#place.txId);
      reread = false;
      if (subscription === undefined) {
        yield* this.#past();
        continue;
      }
      try {
        yield* this.#live(subscription);
      } finally {
        subscription.close();
      }
      // The feed would only find out again that it cannot tell what comes next.
      reread = subscription.lost === "reread";
    }
    const { ended } = this.#feed;
    if (!this.#cut && ended !== undefined && this.#query.signal?.aborted !== true)
      yield [this.#cutoff(ended)];
  }

  get #isOver(): boolean {
    return this.#cut || this.#feed.ended !== undefined || this.#query.signal?.aborted === true;
  }

  /** The transaction to begin after has to be the one that the watcher means, and all after it still there. */
  async #checkBegin(): Promise<void> {
    const { txId } = this.#place;
    const found = await this.#feed.source.place(txId, this.#query.bucket, this.#reader);
    // It has left.
    if (found === undefined) return;
    const { txTime, floor } = found;
    if (txId < floor) throw compacted(txId, floor);
    const { fromTime } = this.#query;
    if (fromTime !== undefined && txTime !== undefined && !isSameTime(fromTime, txTime)) {
      throw regressed(txId, this.#feed.source.position.txId);
    }
    this.#place = { txId, txTime: txTime ?? null };
  }

  /** A node may lag behind the one that the watcher comes from. */
  async *#awaitBegin(): AsyncGenerator<readonly WatchEvent[], void> {
    const { source } = this.#feed;
    while (!this.#isOver && source.position.txId < this.#place.txId) {
      const { position } = source;
      const here = { txId: position.txId, txTime: timeOf(position) };
      yield this.#tell([{ type: "heartbeat", ...here, ahead: true }]);
      await this.#feed.arrival(this.#place.txId, this.#heartbeatMs, this.#query.signal);
    }
    if (this.#isOver) return;
    yield* this.#orCutoff(async () => await this.#checkBegin());
  }

  async *#past(): AsyncGenerator<readonly WatchEvent[], void> {
    const { bucket, namespace } = this.#query;
    let page = this.#feed.recent(this.#query, this.#place.txId);
    const read = async (): Promise<void> => {
      const after = this.#place.txId;
      const size = Math.min(PAST_TRANSACTIONS, FIRST_TRANSACTIONS * 2 ** this.#reader.served);
      // Up to a multiple of the size: watchers who began near one another soon stand at the same places, and share what is read.
      const maxTransactions = size - (after % size);
      const query = { after, bucket, namespace, maxTransactions, maxBytes: PAST_BYTES };
      page = await this.#feed.source.past(query, this.#reader);
    };
    if (page === undefined) yield* this.#orCutoff(read);
    // What was read of an index that the node has left since is not told.
    if (page === undefined || this.#isOver) return;
    const { transactions, upTo, txTime } = page;
    this.#place = { txId: upTo, txTime: txTime ?? this.#place.txTime };
    if (transactions.length > 0) yield this.#tell(transactions);
    else if (performance.now() - this.#toldAt >= this.#heartbeatMs) {
      yield this.#tell([{ type: "heartbeat", ...this.#place }]);
    }
  }

  async *#live(subscription: Subscription): AsyncGenerator<readonly WatchEvent[], void> {
    const { signal } = this.#query;
    const wake = (): void => subscription.wake();
    signal?.addEventListener("abort", wake);
    try {
      for (;;) {
        if (signal?.aborted === true) return;
        const batch = subscription.take();
        if (batch !== undefined) {
          const events = this.#after(batch);
          if (batch.upTo > this.#place.txId) this.#place = { txId: batch.upTo, txTime: batch.txTime };
          if (events.length > 0) yield this.#tell(events);
          continue;
        }
        if (subscription.lost === "slow") return yield* this.#cutOff(SLOW);
        if (subscription.lost !== undefined) return;
        if (this.#feed.ended !== undefined) return this.#advance();
        const left = this.#toldAt + this.#heartbeatMs - performance.now();
        if (left > 0) await subscription.changed(left);
        else {
          this.#advance();
          yield this.#tell([{ type: "heartbeat", ...this.#place }]);
        }
      }
    } finally {
      signal?.removeEventListener("abort", wake);
    }
  }

  /** Nothing waits, so whatever was published up to now was told or is none of this watcher's. */
  #advance(): void {
    const { txId, txTime } = this.#feed.position;
    if (txId > this.#place.txId) this.#place = { txId, txTime };
  }

  /** The page before a subscription may have shown more than the feed had published by then. */
  #after({ events }: Batch): readonly WatchEvent[] {
    const { txId } = this.#place;
    const [first] = events;
    return first === undefined || first.txId > txId ? events : events.filter((event) => event.txId > txId);
  }

  async *#orCutoff(act: () => Promise<void>): AsyncGenerator<readonly WatchEvent[], void> {
    try {
      await act();
    } catch (error) {
      if (error instanceof WatchCompactedError) {
        yield* this.#cutOff({ reason: error.reason, message: error.message });
      } else if (isCairnError(error)) yield* this.#cutOff({ reason: "not-ready", message: error.message });
      else throw error;
    }
  }

  *#cutOff(end: FeedEnd): Generator<readonly WatchEvent[], void> {
    this.#cut = true;
    yield [this.#cutoff(end)];
  }

  #cutoff({ reason, message }: FeedEnd): CutoffEvent {
    this.#feed.listener.cutOff(reason);
    return { type: "cutoff", ...this.#place, reason, message };
  }

  #tell(events: readonly WatchEvent[]): readonly WatchEvent[] {
    this.#toldAt = performance.now();
    return events;
  }
}

function isSameTime(left: string, right: string): boolean {
  return left === right || Date.parse(left) === Date.parse(right);
}
