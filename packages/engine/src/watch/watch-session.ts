import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { bucketProblem, keyProblem, type MarkedPlace, parsePosition, formatPosition } from "@cairn/text";
import { delivered } from "./delivered.ts";
import type { Batch, Subscription } from "./subscription.ts";
import type { CutoffEvent, Watch, WatchedPosition, WatchEvent, WatchQuery } from "./watch-event.ts";
import { compacted, regressed, WatchCompactedError } from "../index/read/watch-compacted.ts";
import { type FeedEnd, endOfSource, type WatchFeed } from "./watch-feed.ts";
import type { TransactionEvent } from "../index/read/transaction-event.ts";
import type { ChangesPage } from "../index/read/transaction-changes.ts";
import { FeedSession } from "./feed-session.ts";

/** The bounds of a page, of which each lagging reader has at most one. */
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
  const batches = (): AsyncIterable<readonly WatchEvent[]> =>
    delivered(async function* steps(deliver) {
      const from = checkQuery(query);
      const session = new WatchSession(open(), query, from, deliver);
      yield* session.take(session.run());
    });
  return {
    batches,
    async *[Symbol.asyncIterator]() {
      for await (const events of batches()) yield* events;
    },
  };
}

/** One watch. It reads the past at the speed of its reader, and then follows the feed. */
class WatchSession extends FeedSession<readonly WatchEvent[]> {
  /** Where the watch begins; undefined for the end of the index. */
  readonly #from: MarkedPlace | undefined;
  /** Everything up to this transaction has been delivered. */
  #place: WatchedPosition;
  #subscription: Subscription | undefined;
  /** True once this session has cut off its watch. When a feed ends, its cutoff comes last. */
  #cut = false;

  constructor(
    feed: WatchFeed,
    query: WatchQuery,
    from: MarkedPlace | undefined,
    deliver: (events: readonly WatchEvent[]) => void,
  ) {
    super(feed, query, deliver);
    this.#from = from;
    this.#place =
      from === undefined
        ? endOfSource(feed.source)
        : { txId: from.txId, txTime: null, position: formatPosition(from) };
  }

  /** Delivers one batch before each `yield`. */
  async *run(): AsyncGenerator<void, void> {
    // Without `from`, the watch begins at the node's position, which needs no check.
    if (this.#from !== undefined) yield* this.#begin(this.#from);
    if (this.isGone) return;
    yield this.deliver([{ type: "heartbeat", ...this.#place }]);
    let reread = false;
    let rereadUpTo = 0;
    while (!this.isGone) {
      const subscription: Subscription | undefined =
        reread || this.#place.txId < rereadUpTo || this.#mustWait
          ? undefined
          : this.feed.subscribe(this.query, this.#place);
      reread = false;
      if (subscription === undefined) {
        yield* this.#past();
        continue;
      }
      this.#subscription = subscription;
      try {
        yield* this.#live(subscription);
      } finally {
        subscription.close();
      }
      // The feed would only detect again that it cannot deliver the following changes.
      reread = subscription.lost === "reread";
      if (reread) rereadUpTo = subscription.begin;
    }
    const { ended } = this.feed;
    if (!this.#cut && ended !== undefined && this.query.signal?.aborted !== true)
      yield this.deliver([this.#cutoff(ended)]);
  }

  override get isGone(): boolean {
    return this.#cut || super.isGone;
  }

  /** True if there is something to deliver, but no memory for it. */
  get #mustWait(): boolean {
    const { source } = this.feed;
    return source.pages.isFull && this.#place.txId < source.position.txId;
  }

  override get stalledSince(): number | undefined {
    return this.#subscription?.lost === "slow" ? Number.NEGATIVE_INFINITY : super.stalledSince;
  }

  /** The reason cannot be sent to a connection, because it would have to take the rest of the page first. */
  override drop(): void {
    this.#cut ||= this.query.connection !== undefined;
    super.drop();
  }

  /** Checks that the transaction where the watch begins is the one meant, and that all later changes still exist. */
  async #checkBegin({ txId, mark }: MarkedPlace): Promise<void> {
    const found = await this.feed.source.place(txId, this.query.bucket, this);
    // The watcher has disconnected.
    if (found === undefined) return;
    const { at, floor } = found;
    if (txId < floor.txId) throw compacted(txId, formatPosition(floor));
    if (txId === 0) return;
    if (at?.position !== formatPosition({ txId, mark })) throw this.#regressed(txId);
    this.#goTo(at);
  }

  #regressed(from: TxId): WatchCompactedError {
    return regressed(from, endOfSource(this.feed.source).position);
  }

  /** Checks where the watch begins, once the index contains it. */
  async *#begin(from: MarkedPlace): AsyncGenerator<void, void> {
    const { source } = this.feed;
    if (source.position.txId >= from.txId) return await this.#checkBegin(from);
    yield this.deliver([this.nothingYet]);
    const isInLog = yield* this.awaitPosition(from.txId, (one) => this.deliver([one]));
    if (this.isGone) return;
    if (!isInLog) {
      const { reason, message } = this.#regressed(from.txId);
      return yield* this.#cutOff({ reason, message });
    }
    yield* this.#orCutoff(async () => await this.#checkBegin(from));
  }

  async *#past(): AsyncGenerator<void, void> {
    let isDelivered = false;
    yield* this.#orCutoff(async () => {
      isDelivered = await this.#deliverPage();
    });
    if (isDelivered) yield;
  }

  /** Delivers the next page of the past, or a heartbeat if one is due. Returns whether it has delivered anything. */
  async #deliverPage(): Promise<boolean> {
    const page = this.#recentPage() ?? (await this.#readPage());
    // Nothing may be delivered from an index that the node has left in the meantime.
    if (page === undefined || this.isGone) return false;
    const { transactions, end } = page;
    this.#goTo(end ?? this.#place);
    if (transactions.length > 0) this.#deliverHeld(transactions);
    else if (performance.now() - this.deliveredAt < this.heartbeatMs) return false;
    else this.deliver([{ type: "heartbeat", ...this.#place }]);
    return true;
  }

  #recentPage(): ChangesPage | undefined {
    const { pages } = this.feed.source;
    return pages.isFull ? undefined : this.feed.recent(this.query, this.#place.txId);
  }

  async #readPage(): Promise<ChangesPage | undefined> {
    const { bucket, namespace } = this.query;
    const after = this.#place.txId;
    const size = Math.min(PAST_TRANSACTIONS, FIRST_TRANSACTIONS * 2 ** this.served);
    // Pages end at multiples of their size, so that watchers with nearby starting points soon share their reads.
    const maxTransactions = size - (after % size);
    const query = { after, bucket, namespace, maxTransactions, maxBytes: PAST_BYTES };
    return await this.feed.source.past(query, this);
  }

  async *#live(subscription: Subscription): AsyncGenerator<void, void> {
    const { signal } = this.query;
    const wake = (): void => subscription.wake();
    signal?.addEventListener("abort", wake);
    try {
      for (;;) {
        if (signal?.aborted === true) return;
        if (subscription.waiting > 0) {
          if (this.#deliverNext(subscription)) yield;
          continue;
        }
        if (subscription.lost === "slow") return yield* this.#cutOff(SLOW);
        if (subscription.lost !== undefined) return;
        if (this.feed.ended !== undefined) return this.#advance();
        const left = this.deliveredAt + this.heartbeatMs - performance.now();
        if (left > 0) await subscription.changed(left);
        else {
          this.#advance();
          yield this.deliver([{ type: "heartbeat", ...this.#place }]);
        }
      }
    } finally {
      signal?.removeEventListener("abort", wake);
    }
  }

  /** Delivers a batch of the queue. Returns whether it contained anything new. */
  #deliverNext(subscription: Subscription): boolean {
    const batch = subscription.take();
    const events = batch === undefined ? [] : this.#after(batch);
    if (batch !== undefined && batch.end.txId > this.#place.txId) this.#goTo(batch.end);
    if (events.length > 0) this.#deliverHeld(events);
    return events.length > 0;
  }

  /** The queue is empty, so all published events have been delivered or do not concern this watcher. */
  #advance(): void {
    const { position } = this.feed;
    if (position.txId > this.#place.txId) this.#goTo(position);
  }

  /** A place may be the last transaction itself, whose changes are not part of the events that name the place. */
  #goTo({ txId, txTime, position }: WatchedPosition): void {
    this.#place = { txId, txTime, position };
  }

  /** Returns the events of a batch, except those that a page ahead of the feed has already delivered. */
  #after({ events }: Batch): readonly TransactionEvent[] {
    const { txId } = this.#place;
    const [first] = events;
    return first === undefined || first.txId > txId ? events : events.filter((event) => event.txId > txId);
  }

  async *#orCutoff(act: () => Promise<void>): AsyncGenerator<void, void> {
    try {
      await act();
    } catch (error) {
      if (error instanceof WatchCompactedError) {
        yield* this.#cutOff({ reason: error.reason, message: error.message });
      } else if (isCairnError(error)) yield* this.#cutOff({ reason: "not-ready", message: error.message });
      else throw error;
    }
  }

  *#cutOff(end: FeedEnd): Generator<void, void> {
    this.#cut = true;
    yield this.deliver([this.#cutoff(end)]);
  }

  #cutoff({ reason, message }: FeedEnd): CutoffEvent {
    this.feed.listener.cutOff(reason);
    return { type: "cutoff", ...this.#place, reason, message };
  }

  #deliverHeld(transactions: readonly TransactionEvent[]): void {
    this.feed.source.pages.hold(this, { transactions });
    this.deliver(transactions);
  }
}

/** Returns where the watch begins. Throws `REQUEST_INVALID` for a query that cannot be watched. */
export function checkQuery({ bucket, namespace, from, heartbeatMs }: WatchQuery): MarkedPlace | undefined {
  const problem =
    (bucket === undefined ? undefined : bucketProblem(bucket)) ??
    (namespace === undefined ? undefined : keyProblem(namespace, "any")) ??
    (heartbeatMs === undefined || heartbeatMs > 0
      ? undefined
      : `heartbeatMs must be a number of milliseconds above 0, not ${heartbeatMs}`);
  if (problem === undefined) return from === undefined ? undefined : parsePosition(String(from), "from");
  throw new CairnError(
    "REQUEST_INVALID",
    `Not a valid watch: ${problem}.`,
    "Use only these parameters: bucket, namespace, the position at which the watch begins (from), and heartbeat.",
  );
}
