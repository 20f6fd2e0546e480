import type { ChangesPage } from "../index/read/transaction-changes.ts";
import type { Batch, Subscription } from "./subscription.ts";
import type { WatchedPosition, WatchQuery } from "./watch-event.ts";
import { changesBytes, type TransactionEvent, type WatchChange } from "../index/read/transaction-event.ts";
import { madeOnce } from "@cairn/text";

/** The changes to watch. Defaults to all changes. */
export type WatchFilter = Pick<WatchQuery, "bucket" | "namespace">;

interface Group {
  readonly subscriptions: Set<Subscription>;
  /** The events that are collected while a page is being published; empty at other times. */
  events: TransactionEvent[];
  bytes: number;
}

/** Finds the watchers of a change by lookup, so that others cost nothing. Those of the same changes share batches. */
export class WatchRouter {
  readonly #groups = new Map<string, Group>();
  size = 0;

  add(filter: WatchFilter, subscription: Subscription): void {
    const key = filterKey(filter);
    const group = madeOnce(this.#groups, key, () => ({
      subscriptions: new Set<Subscription>(),
      events: [],
      bytes: 0,
    }));
    group.subscriptions.add(subscription);
    this.size += 1;
  }

  remove(filter: WatchFilter, subscription: Subscription): void {
    const key = filterKey(filter);
    const group = this.#groups.get(key);
    if (group === undefined || !group.subscriptions.delete(subscription)) return;
    this.size -= 1;
    if (group.subscriptions.size === 0) this.#groups.delete(key);
  }

  *subscriptions(): Generator<Subscription, void> {
    for (const { subscriptions } of this.#groups.values()) yield* subscriptions;
  }

  /** Delivers to each group the part of a page that it watches, and returns the bytes of the largest part. */
  publish({ transactions }: Pick<ChangesPage, "transactions">, end: WatchedPosition): number {
    let most = 0;
    const touched = new Set<Group>();
    for (const event of transactions) this.#route(event, touched);
    for (const group of touched) {
      const { events, bytes } = group;
      group.events = [];
      group.bytes = 0;
      most = Math.max(most, bytes);
      const batch: Batch = { events, end, bytes };
      for (const subscription of group.subscriptions) subscription.push(batch);
    }
    return most;
  }

  #route(event: TransactionEvent, touched: Set<Group>): void {
    const parts = new Map<Group, WatchChange[]>();
    for (const change of event.changes) {
      const { bucket, namespace } = change;
      for (const key of ["/", `${bucket}/`, `/${namespace}`, `${bucket}/${namespace}`]) {
        const group = this.#groups.get(key);
        if (group !== undefined) madeOnce(parts, group, () => []).push(change);
      }
    }
    for (const [group, changes] of parts) {
      touched.add(group);
      group.events.push(changes.length === event.changes.length ? event : { ...event, changes });
      group.bytes += changesBytes(changes);
    }
  }
}

/** Returns the part of a transaction that matches `filter`; undefined if there is none. */
export function filtered(
  event: TransactionEvent,
  { bucket, namespace }: WatchFilter,
): TransactionEvent | undefined {
  if (bucket === undefined && namespace === undefined) return event;
  const changes = event.changes.filter(
    (change) =>
      (bucket === undefined || change.bucket === bucket) &&
      (namespace === undefined || change.namespace === namespace),
  );
  if (changes.length === 0) return undefined;
  return changes.length === event.changes.length ? event : { ...event, changes };
}

/** Returns the key of the watchers of the same changes. It is unambiguous, because neither part contains a "/". */
export function filterKey({ bucket = "", namespace = "" }: WatchFilter): string {
  return `${bucket}/${namespace}`;
}
