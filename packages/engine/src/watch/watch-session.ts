import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { bucketProblem, keyProblem } from "@cairn/text";
import type { Batch, Subscription } from "./subscription.ts";
import type { FairReader } from "./fair-reads.ts";
import { type CutoffEvent, type Watch, type WatchEvent, type WatchQuery } from "./watch-event.ts";
import { compacted, regressed, WatchCompactedError } from "../index/read/watch-compacted.ts";
import { type FeedEnd, endOfSource, type WatchedPosition, type WatchFeed } from "./watch-feed.ts";

const HEARTBEAT_MS = 10_000;
/** Each lagging reader keeps one page in memory, so even a thousand readers need little memory. */
const PAST_TRANSACTIONS = 512;
const PAST_BYTES = 64 * 1024;
/** The first page. Each next one is twice as large, up to the bounds above, so that many readers soon have events. */
const FIRST_TRANSACTIONS = 32;

/** The end for a reader whose queue exceeds the bounds of {@link WatchFeed}; the subscription detects it. */
const SLOW: FeedEnd = {
  reason: "slow",
  message: "The reader is slower than the changes. Open the watch again after this transaction.",
};

/** Returns a watch of the feed that `open` returns when the watch is iterated. */
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

/** One watch. It reads the past at the speed of its reader, and then follows the feed. */
class WatchSession {
  readonly #feed: WatchFeed;
  readonly #query: WatchQuery;
  readonly #heartbeatMs: number;
  readonly #reader: FairReader;
  /** Everything up to this transaction has been delivered. */
  #place: WatchedPosition;
  #deliveredAt = performance.now();
  /** True once this session has cut off its watch. When a feed ends, its cutoff comes last. */
  #cut = false;

  constructor(feed: WatchFeed, query: WatchQuery) {
    this.#feed = feed;
    this.#query = query;
    this.#reader = { served: 0, signal: query.signal };
    this.#heartbeatMs = query.heartbeatMs ?? HEARTBEAT_MS;
    this.#place = query.from === undefined ? endOfSource(feed.source) : { txId: query.from, txTime: null };
  }

  async *run(): AsyncGenerator<readonly WatchEvent[], void> {
    if (this.#feed.source.position.txId < this.#place.txId) yield* this.#awaitBegin();
    // Without `from`, the watch begins at the node's position, which needs no check.
    else if (this.#query.from !== undefined) await this.#checkBegin();
    if (this.#isOver) return;
    yield this.#deliver([{ type: "heartbeat", ...this.#place }]);
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
      // The feed would only detect again that it cannot deliver the following changes.
      reread = subscription.lost === "reread";
    }
    const { ended } = this.#feed;
    if (!this.#cut && ended !== undefined && this.#query.signal?.aborted !== true)
      yield [this.#cutoff(ended)];
  }

  get #isOver(): boolean {
    return this.#cut || this.#feed.ended !== undefined || this.#query.signal?.aborted === true;
  }

  /** Checks that the transaction where the watch begins is the one meant, and that all later changes still exist. */
  async #checkBegin(): Promise<void> {
    const { txId } = this.#place;
    const found = await this.#feed.source.place(txId, this.#query.bucket, this.#reader);
    // The watcher has disconnected.
    if (found === undefined) return;
    const { txTime, floor } = found;
    if (txId < floor) throw compacted(txId, floor);
    const { fromTime } = this.#query;
    if (fromTime !== undefined && txTime !== undefined && !isSameTime(fromTime, txTime)) {
      throw regressed(txId, this.#feed.source.position.txId);
    }
    this.#place = { txId, txTime: txTime ?? null };
  }

  /** The watcher may come from a node that is ahead of this one. */
  async *#awaitBegin(): AsyncGenerator<readonly WatchEvent[], void> {
    const { source } = this.#feed;
    while (!this.#isOver && source.position.txId < this.#place.txId) {
      yield this.#deliver([{ type: "heartbeat", ...endOfSource(source), ahead: true }]);
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
      // Pages end at multiples of their size, so that watchers with nearby starting points soon share their reads.
      const maxTransactions = size - (after % size);
      const query = { after, bucket, namespace, maxTransactions, maxBytes: PAST_BYTES };
      page = await this.#feed.source.past(query, this.#reader);
    };
    if (page === undefined) yield* this.#orCutoff(read);
    // Nothing may be delivered from an index that the node has left in the meantime.
    if (page === undefined || this.#isOver) return;
    const { transactions, upTo, txTime } = page;
    this.#place = { txId: upTo, txTime: txTime ?? this.#place.txTime };
    if (transactions.length > 0) yield this.#deliver(transactions);
    else if (performance.now() - this.#deliveredAt >= this.#heartbeatMs) {
      yield this.#deliver([{ type: "heartbeat", ...this.#place }]);
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
          if (events.length > 0) yield this.#deliver(events);
          continue;
        }
        if (subscription.lost === "slow") return yield* this.#cutOff(SLOW);
        if (subscription.lost !== undefined) return;
        if (this.#feed.ended !== undefined) return this.#advance();
        const left = this.#deliveredAt + this.#heartbeatMs - performance.now();
        if (left > 0) await subscription.changed(left);
        else {
          this.#advance();
          yield this.#deliver([{ type: "heartbeat", ...this.#place }]);
        }
      }
    } finally {
      signal?.removeEventListener("abort", wake);
    }
  }

  /** The queue is empty, so all published events have been delivered or do not concern this watcher. */
  #advance(): void {
    const { position } = this.#feed;
    if (position.txId > this.#place.txId) this.#place = position;
  }

  /** Returns the events of a batch, except those that a page ahead of the feed has already delivered. */
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

  #deliver(events: readonly WatchEvent[]): readonly WatchEvent[] {
    this.#deliveredAt = performance.now();
    return events;
  }
}

function isSameTime(left: string, right: string): boolean {
  return left === right || Date.parse(left) === Date.parse(right);
}

/** Throws `REQUEST_INVALID` for a query that cannot be watched. */
function checkQuery({ bucket, namespace, from, fromTime, heartbeatMs }: WatchQuery): void {
  const problem =
    (bucket === undefined ? undefined : bucketProblem(bucket)) ??
    (namespace === undefined ? undefined : keyProblem(namespace, "any")) ??
    (from === undefined || (Number.isSafeInteger(from) && from >= 0)
      ? undefined
      : `from must be a transaction id, not ${from}`) ??
    (fromTime === undefined ? undefined : fromTimeProblem(fromTime, from)) ??
    (heartbeatMs === undefined || heartbeatMs > 0
      ? undefined
      : `heartbeatMs must be a number of milliseconds above 0, not ${heartbeatMs}`);
  if (problem === undefined) return;
  throw new CairnError(
    "REQUEST_INVALID",
    `Not a valid watch: ${problem}.`,
    "Use only these parameters: bucket, namespace, the transaction after which the watch begins (from), that transaction's time (from-time), and heartbeat.",
  );
}

function fromTimeProblem(fromTime: string, from: TxId | undefined): string | undefined {
  if (from === undefined) return "from-time requires from, which must be the transaction with this time";
  // A malformed time equals none, so the log would mistakenly be reported as having lost the transaction.
  return Number.isNaN(Date.parse(fromTime))
    ? `${JSON.stringify(fromTime)} is not an ISO 8601 time`
    : undefined;
}
