import type { TxId } from "@cairn/client";
import type { FairReader } from "./fair-reads.ts";
import type { HeartbeatEvent, WatchQuery } from "./watch-event.ts";
import { endOfSource, type WatchFeed } from "./watch-feed.ts";

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

  /**
   * Waits until the index contains a transaction: its reader may come from a node that is ahead of this one, or from a
   * log that has lost its end since. After each heartbeat, compares it with the end of the log, and delivers where the
   * node is. Returns false if the log ends before the transaction; otherwise true, also once there is nothing more to wait
   * for.
   */
  protected async *awaitPosition(
    txId: TxId,
    deliver: (waiting: HeartbeatEvent) => void,
  ): AsyncGenerator<void, boolean> {
    const { source } = this.feed;
    const isWaiting = (): boolean => source.position.txId < txId && !this.isGone;
    while (isWaiting()) {
      await this.feed.arrival(txId, this.heartbeatMs, this.query.signal);
      if (!isWaiting()) break;
      // A comparison at once could meet the log before it has what the reader received elsewhere.
      const end = await source.logEnd();
      if (end !== undefined && end < txId) return false;
      deliver(this.nothingYet);
      yield;
    }
    return true;
  }

  /** Nothing was delivered yet, so no reader can resume after this event. */
  protected get nothingYet(): HeartbeatEvent {
    return { type: "heartbeat", ...endOfSource(this.feed.source), ahead: true };
  }

  protected deliver(batch: Batch): void {
    this.deliveredAt = performance.now();
    this.#deliver(batch);
  }
}
