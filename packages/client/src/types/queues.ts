import type { QueuePolicy } from "./policies.ts";
import type { Json, Position, Revision, TxId } from "./transaction.ts";

/** The holder of a shard of a queue: its director or, of a draining shard, its drainer. */
export interface QueueHolder {
  readonly as: string;
  /** The end of the lease, which is compared with the times of transactions. */
  readonly until: string;
}

/** A shard of a queue that is not spare. */
export interface QueueShard {
  readonly shard: number;
  readonly state: "active" | "draining" | "retiring";
  readonly entries: number;
  readonly open: number;
  /** The newest epoch; null if the shard has not been claimed since it was spare. */
  readonly epoch: TxId | null;
  /** Null if the shard is unclaimed. A holder whose lease has ended remains its holder until another one claims it. */
  readonly holder: QueueHolder | null;
}

export interface QueueStatus {
  readonly name: string;
  readonly policy: QueuePolicy;
  /** The number of entries of all shards, and how many of them are open. */
  readonly entries: number;
  readonly open: number;
  /** The number of spare shards, which `shards` does not contain. */
  readonly spare: number;
  /** The other shards, in the order of their numbers. */
  readonly shards: readonly QueueShard[];
}

export interface QueueEntry<T = Json> {
  readonly shard: number;
  readonly name: string;
  readonly revision: Revision;
  readonly document: T;
  readonly createdTx: TxId;
}

/** An entry, open or finished, and where it came from. */
export interface PlacedEntry<T = Json> extends QueueEntry<T> {
  readonly open: boolean;
  /** The last move of the entry: the shard that it came from, and the transaction; null if it was never moved. */
  readonly moved: { readonly from: number; readonly txId: TxId } | null;
}

/** A page of the open entries of a shard as of `txId`, in the order in which they were created. */
export interface OpenEntriesPage<T = Json> {
  readonly txId: TxId;
  readonly position: Position;
  readonly entries: readonly QueueEntry<T>[];
  /** The cursor of the next page; undefined on the last one. */
  readonly next: string | undefined;
}
