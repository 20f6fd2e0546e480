import { randomUUID } from "node:crypto";
import type { ClientStates, Position, TxId } from "@cairn/client";
import { type MarkedPlace, formatPosition } from "@cairn/text";
import {
  type ChangedStates,
  changedStates,
  type StatesOfKeys,
  keyStates,
  type ScannedStates,
  scanStates,
  type StateChange,
} from "../index/read/states.ts";
import { WatchCompactedError } from "../index/read/watch-compacted.ts";
import { FeedSession } from "./feed-session.ts";
import type { HeartbeatEvent, WatchedPosition, WatchQuery } from "./watch-event.ts";
import { type WatchFeed, watchedPosition } from "./watch-feed.ts";
import { delivered } from "./delivered.ts";
import { filterKey } from "./watch-router.ts";
import { checkQuery } from "./watch-session.ts";

export interface FollowQuery extends WatchQuery {
  /** The position of the last batch that was stored. By default, the batches begin with all documents. */
  readonly from?: Position;
}

/**
 * New states of the followed documents, each key at most once. `position` is where to continue; undefined until all
 * documents were sent. If `complete` is true, what the batches amount to is exactly what the position contains;
 * otherwise, it may already contain later changes, which are sent again.
 */
export interface StatesBatch extends Omit<ClientStates, "changes"> {
  readonly changes: readonly StateChange[];
}

/** The heartbeats come first, until there are states to deliver. */
export type FollowEvent = HeartbeatEvent | StatesBatch;

const CLEAR: readonly StateChange[] = [{ op: "clear" }];

/**
 * Returns batches that keep a copy of documents exact, whatever policies remove: first all documents, unless the log and
 * the index still contain `from`, and then the states of the keys that changed. Ends when the node leaves its index, or
 * the signal is aborted.
 */
export function followStates(query: FollowQuery, open: () => WatchFeed): AsyncIterable<FollowEvent> {
  return delivered(async function* steps(deliver) {
    const from = checkQuery(query);
    const session = new FollowSession(open(), query, deliver);
    yield* session.take(session.run(from));
  });
}

class FollowSession extends FeedSession<FollowEvent> {
  #isComplete = false;

  /** Delivers one batch before each `yield`. */
  async *run(from: MarkedPlace | undefined): AsyncGenerator<void, void> {
    // A response begins with its first event, and clients do not wait as long for that as the next one may take.
    yield this.deliver(this.nothingYet);
    let place = from === undefined ? undefined : yield* this.#resumed(from);
    while (!this.isGone) {
      try {
        place ??= yield* this.#scan();
        if (place !== undefined) yield* this.#changes(place);
      } catch (error) {
        // The outcomes of transactions after the place were removed.
        if (!(error instanceof WatchCompactedError)) throw error;
      }
      place = undefined;
    }
  }

  /** Returns the place if the log and the index contain it; undefined if not. */
  async *#resumed(from: MarkedPlace): AsyncGenerator<void, WatchedPosition | undefined> {
    const { source } = this.feed;
    const position = formatPosition(from);
    const isInLog = yield* this.awaitPosition(from.txId, (one) => this.deliver(one));
    if (!isInLog || this.isGone) return undefined;
    const found = await source.place(from.txId, this.query.bucket, this);
    if (from.txId === 0) return { txId: 0, txTime: null, position };
    return found?.at?.position === position ? found.at : undefined;
  }

  /** Delivers all documents. Returns the place at which this began: what changed since may have been missed. */
  async *#scan(): AsyncGenerator<void, WatchedPosition | undefined> {
    let begun: WatchedPosition | undefined;
    let after: Uint8Array | undefined;
    let changes = CLEAR;
    do {
      const page: ScannedStates | undefined = await this.#scanned(after);
      if (page === undefined || this.isGone) return undefined;
      begun ??= watchedPosition(page.place);
      after = page.after;
      changes = [...changes, ...page.changes];
      const position = after === undefined ? begun.position : undefined;
      this.#isComplete = changes[0]?.op === "clear" && after === undefined;
      yield this.deliver({ ...batchAt(begun), position, complete: this.#isComplete, changes });
      changes = [];
    } while (after !== undefined);
    return begun;
  }

  async #scanned(after: Uint8Array | undefined): Promise<ScannedStates | undefined> {
    const key = `scan ${filterKey(this.query)} ${Buffer.from(after ?? []).toString("latin1")}`;
    return await this.feed.source.states(this, key, (rows, state) =>
      scanStates(rows, state, this.query, after),
    );
  }

  async #changed(after: TxId): Promise<ChangedStates | undefined> {
    const key = `changed ${filterKey(this.query)} ${after}`;
    return await this.feed.source.states(this, key, (rows, state) =>
      changedStates(rows, state, this.query, after),
    );
  }

  /** Delivers the states of the keys that change after a place, until the node leaves its index. */
  async *#changes(begin: WatchedPosition): AsyncGenerator<void, void> {
    const { source } = this.feed;
    let place = begin;
    while (!this.isGone) {
      const waitMs = this.deliveredAt + this.heartbeatMs - performance.now();
      if (this.#isComplete && source.position.txId === place.txId && waitMs > 0)
        await this.feed.arrival(place.txId + 1, waitMs, this.query.signal);
      // What this has read is not kept while the follower waits.
      else place = yield* this.#step(place, waitMs <= 0);
    }
  }

  /** Delivers what changed after a place, or its position if `isDue`. Returns the place that was reached. */
  async *#step(place: WatchedPosition, isDue: boolean): AsyncGenerator<void, WatchedPosition> {
    const read = await this.#changed(place.txId);
    let part: StatesOfKeys | undefined = read;
    let isWhole = read?.isEnd === true;
    for (; part !== undefined && part.rest.length > 0; isWhole = false) {
      yield this.deliver({ ...batchAt(place), complete: false, changes: part.changes });
      // What follows is read later, so it may be newer than what was sent.
      const { rest } = part;
      part = await this.feed.source.states(this, `rest ${randomUUID()}`, (rows, state) =>
        keyStates(rows, state, rest),
      );
    }
    if (read === undefined || part === undefined || this.isGone) return place;
    const reached = read.end ?? place;
    const isNews = part.changes.length > 0 || isWhole !== this.#isComplete || isDue;
    this.#isComplete = isWhole;
    if (isNews) yield this.deliver({ ...batchAt(reached), complete: isWhole, changes: part.changes });
    return reached;
  }
}

function batchAt({ position, txId, txTime }: WatchedPosition): Omit<StatesBatch, "complete" | "changes"> {
  return { position, txId, txTime };
}
