import type { FairReader } from "./fair-reads.ts";
import type { WatchQuery } from "./watch-event.ts";
import type { WatchFeed } from "./watch-feed.ts";

const HEARTBEAT_MS = 10_000;

/** A reader of a feed to which batches are delivered: a watch, or a follower of states. */
export abstract class FeedSession<Batch> implements FairReader {
  served = 0;
  protected readonly feed: WatchFeed;
  protected readonly query: WatchQuery;
  protected readonly heartbeatMs: number;
  protected deliveredAt = performance.now();
  readonly #deliver: (batch: Batch) => void;

  constructor(feed: WatchFeed, query: WatchQuery, deliver: (batch: Batch) => void) {
    this.feed = feed;
    this.query = query;
    this.heartbeatMs = query.heartbeatMs ?? HEARTBEAT_MS;
    this.#deliver = deliver;
  }

  get isGone(): boolean {
    return this.feed.ended !== undefined || this.query.signal?.aborted === true;
  }

  /** A program may take its time: its page is its own memory. */
  get stalledSince(): number | undefined {
    const { connection } = this.query;
    return connection === undefined ? this.deliveredAt : connection.stalledSince;
  }

  drop(): void {
    const { connection } = this.query;
    if (connection === undefined) return;
    this.feed.listener.cutOff("slow");
    connection.close();
  }

  /** Takes the steps of the session, which keeps no page while its reader has one. */
  async *take(steps: AsyncGenerator<void, void>): AsyncGenerator<void, void> {
    const { source, listener } = this.feed;
    listener.opened();
    try {
      for await (const _ of steps) {
        yield;
        source.pages.release(this);
      }
    } finally {
      source.pages.release(this);
      listener.closed();
    }
  }

  protected deliver(batch: Batch): void {
    this.deliveredAt = performance.now();
    this.#deliver(batch);
  }
}
