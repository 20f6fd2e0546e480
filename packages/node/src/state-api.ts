import type { BucketSummary } from "./index-store/bucket-reads.ts";
import type { Eviction } from "./index-store/eviction-reads.ts";
import type { ReadOptions } from "./node-api.ts";
import type { PolicyState } from "./policies/policies.ts";
import type { TxId } from "./tx-log/transaction.ts";

/** Buckets by name, as of `txId`. */
export interface BucketsPage {
  readonly txId: TxId;
  readonly buckets: readonly BucketSummary[];
}

/** Which events; all when left out. */
export interface EventListQuery extends ReadOptions {
  /** 1 to 1,000; 100 when left out. */
  readonly limit?: number;
  /** Of objects of this bucket. */
  readonly bucket?: string;
  readonly object?: string;
  /** Older than this: an event's id, or a time in nanoseconds since 1970. */
  readonly before?: string;
}

/** Something evicted, and where copies of it may be that this node cannot remove. */
export interface EvictionPlaces extends Eviction {
  /** The log's transactions up to the eviction, until they are trimmed; null when they are. */
  readonly log: { readonly firstTxId: TxId; readonly lastTxId: TxId } | null;
  /** Checkpoints of this log that may still give it back: saved before the eviction, and not known to be older than what it removed. Null when the store does not answer. */
  readonly checkpoints: readonly string[] | null;
}

/** A page of evictions, newest first. */
export interface EvictionsPage {
  readonly evictions: readonly EvictionPlaces[];
  readonly cursor?: string;
}

/** The policies in force, and what this node's own configuration proposes. */
export interface NodePolicies extends PolicyState {
  readonly txId: TxId;
  /** `same` or `different` from `cairn/policies` of the node's file; null where it has none. The log's are followed either way. */
  readonly file: "same" | "different" | null;
}
