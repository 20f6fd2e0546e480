import type {
  ClientDocument,
  ClientEntriesOptions,
  ClientFollowQuery,
  ClientGetOptions,
  ClientHistoryOptions,
  ClientListQuery,
  ClientPage,
  ClientReadOptions,
  ClientStates,
  ClientTransaction,
  ClientVersion,
  ClientWatchQuery,
  LoadedDocuments,
  LoadOptions,
  Removed,
  RemoveQuery,
  WaitOptions,
  WriteOptions,
  Written,
} from "./client-types.ts";
import type { Faithful } from "./faithful.ts";
import type { OpenEntriesPage, QueueStatus } from "./queues.ts";
import type { AnyOperation, Json, Transaction, TxOutcome } from "./transaction.ts";

/** Returns what replaces a document, or undefined to leave it as it is. */
export type DocumentChange<T> = (
  document: T | undefined,
) => (T & Faithful<T>) | undefined | Promise<(T & Faithful<T>) | undefined>;

/** The calls of a client on which others are built: those of a bucket, bulk writes, directors. */
export interface ClientCalls {
  get<T>(bucket: string, key: string, options?: ClientGetOptions): Promise<ClientDocument<T> | undefined>;
  list<T>(bucket: string, query?: ClientListQuery): AsyncIterable<ClientDocument<T>>;
  page<T = Json>(bucket: string, query?: ClientListQuery, cursor?: string): Promise<ClientPage<T>>;
  history<T>(bucket: string, key: string, options?: ClientHistoryOptions): AsyncIterable<ClientVersion<T>>;
  put<T>(bucket: string, key: string, document: T & Faithful<T>, options?: WriteOptions): Promise<Written>;
  delete(bucket: string, key: string, options?: WriteOptions): Promise<Written>;
  update<T>(
    bucket: string,
    key: string,
    change: DocumentChange<T>,
    options?: WaitOptions,
  ): Promise<ClientDocument<T> | undefined>;
  load<T>(
    bucket: string,
    documents: LoadedDocuments<T>,
    options?: LoadOptions,
  ): Promise<{ readonly documents: number }>;
  deleteAll(bucket: string, query?: RemoveQuery): Promise<Removed>;
  watch<T = Json>(query?: ClientWatchQuery): AsyncIterable<ClientTransaction<T>>;
  follow<T>(query?: ClientFollowQuery): AsyncIterable<ClientStates<T>>;
  transact(transaction: Transaction<AnyOperation>, options?: WaitOptions): Promise<TxOutcome>;
  queue(name: string, options?: ClientReadOptions): Promise<QueueStatus>;
  openEntries(queue: string, shard: number, options?: ClientEntriesOptions): Promise<OpenEntriesPage>;
}
