import type { ClusterStatus } from "./types/cluster-status.ts";
import type {
  CallOptions,
  ClientBuckets,
  ClientDocument,
  ClientEntriesOptions,
  ClientEvent,
  ClientEventQuery,
  ClientFollowQuery,
  ClientGetOptions,
  ClientListQuery,
  ClientPage,
  ClientQueryOptions,
  ClientReadOptions,
  ClientRows,
  ClientStates,
  ClientTransaction,
  ClientVersion,
  ClientWatchQuery,
  QueryArguments,
  WaitOptions,
} from "./types/client-types.ts";
import type { Director } from "./queues/director.ts";
import type { NodeStatus } from "./types/node-status.ts";
import type { PolicyState } from "./types/policies.ts";
import type { OpenEntriesPage, PlacedEntry, QueueStatus } from "./types/queues.ts";
import type { AnyOperation, Transaction, TxId, TxOutcome } from "./types/transaction.ts";

/**
 * Nodes as a client uses them: over HTTP, or one in the same process. Every failure is a `CairnClientError`. Failures
 * that may pass are retried for a while. Reads wait until `minTx` is indexed. Documents are parsed.
 */
export interface NodeAccess {
  get(bucket: string, key: string, options: ClientGetOptions): Promise<ClientDocument | undefined>;
  page(bucket: string, query: ClientListQuery, cursor: string | undefined): Promise<ClientPage>;
  versions(
    bucket: string,
    key: string,
    options: ClientEntriesOptions,
  ): Promise<{ readonly versions: readonly ClientVersion[]; readonly next: string | undefined }>;
  /** Resolves once the transaction, which has an id, is indexed. */
  transact(transaction: Transaction<AnyOperation>, options: WaitOptions): Promise<TxOutcome>;
  /** Resolves once the transaction, which has an id, is in the log. */
  submit(transaction: Transaction<AnyOperation>, options: CallOptions): Promise<{ readonly txId: TxId }>;
  await(txId: TxId, options: WaitOptions): Promise<TxOutcome>;
  buckets(options: ClientReadOptions): Promise<ClientBuckets>;
  policies(options: ClientReadOptions): Promise<PolicyState>;
  queues(options: ClientReadOptions): Promise<readonly QueueStatus[]>;
  queue(name: string, options: ClientReadOptions): Promise<QueueStatus>;
  openEntries(queue: string, shard: number, options: ClientEntriesOptions): Promise<OpenEntriesPage>;
  entry(queue: string, name: string, options: ClientReadOptions): Promise<PlacedEntry | undefined>;
  sql(index: string, text: string, args: QueryArguments, options: ClientQueryOptions): Promise<ClientRows>;
  events(query: ClientEventQuery): Promise<readonly ClientEvent[]>;
  /** Continues at another node, or when this one is ready again. */
  watch(query: ClientWatchQuery): AsyncIterable<ClientTransaction>;
  follow(query: ClientFollowQuery): AsyncIterable<ClientStates>;
  status(options: CallOptions): Promise<NodeStatus>;
  cluster(options: WaitOptions): Promise<ClusterStatus>;
  /** Called with each director. A node in the same process stops it before itself. */
  onDirector?(director: Director): void;
  digest(options: CallOptions): Promise<{ readonly txId: TxId; readonly digest: string }>;
}
