import type { ClusterStatus } from "./types/cluster-status.ts";
import type { NodeStatus } from "./types/node-status.ts";
import type { Policies, PolicyState } from "./types/policies.ts";
import type { OpenEntriesPage, PlacedEntry, QueueStatus } from "./types/queues.ts";
import type {
  AnyOperation,
  EventRecord,
  Json,
  Transaction,
  TxId,
  TxOperation,
  TxOutcome,
} from "./types/transaction.ts";
import { CairnClientError, hasCode } from "./types/client-error.ts";
import type { ClientCalls, DocumentChange } from "./types/client-calls.ts";
import type { Faithful } from "./types/faithful.ts";
import type { Schema } from "./types/schema.ts";
import { Bucket } from "./bucket.ts";
import { checkedOptions, checkedRemoval } from "./call-options.ts";
import { cancellable } from "./cancellable.ts";
import { httpAccess } from "./http-access.ts";
import { deleteDocuments, loadDocuments } from "./bulk-writes.ts";
import type { NodeAccess } from "./node-access.ts";
import { type Director, directQueue } from "./queues/director.ts";
import type { DirectorOptions } from "./queues/director-options.ts";
import { queueAccess } from "./queues/queue-access.ts";
import { refusalHint } from "./refusals.ts";
import { requireJson, requireJsonOps, withId } from "./request-parts.ts";
import { SeenTransactions } from "./seen-transactions.ts";
import { updateDocument } from "./update-document.ts";
import type {
  CallOptions,
  ClientBuckets,
  ClientDocument,
  ClientEntriesOptions,
  ClientEvent,
  ClientEventQuery,
  ClientFollowQuery,
  ClientGetOptions,
  ClientHistoryOptions,
  ClientListQuery,
  ClientPage,
  ClientQueryOptions,
  ClientReadOptions,
  ClientRows,
  ClientStates,
  ClientTransaction,
  ClientVersion,
  ClientWatchQuery,
  HttpClientOptions,
  LoadedDocuments,
  LoadOptions,
  QueryArguments,
  Removed,
  RemoveQuery,
  SubmitOptions,
  WaitOptions,
  WriteOptions,
  Written,
} from "./types/client-types.ts";

export type ClientOptions = (HttpClientOptions | { readonly access: NodeAccess }) & {
  /** Whether reads wait until the node has indexed all that this client wrote or saw before. Defaults to true. */
  readonly readYourWrites?: boolean;
};

/**
 * A client of the nodes of one log, over HTTP or in the process of a node (`node.client()`). Over HTTP, calls go to one
 * node until it fails, and then to the next. Transient failures are retried. Writes carry an idempotency id, so they are
 * applied once. Unless `readYourWrites` is false, reads never return a state that is older than the state that this
 * client wrote or saw before. A key is `namespace/name`, or just a name in the namespace `default`.
 */
export class CairnClient implements ClientCalls {
  readonly #access: NodeAccess;
  readonly #seen: SeenTransactions;

  constructor(options: ClientOptions) {
    checkedOptions("CairnClient", options);
    this.#access = "access" in options ? options.access : httpAccess(options);
    this.#seen = new SeenTransactions(this.#access, options.readYourWrites ?? true);
  }

  /** The last transaction that this client wrote or saw. With it as `minTx`, other clients see at least that state. */
  get lastTx(): TxId {
    return this.#seen.last;
  }

  /** Returns the documents of a bucket as `T`. With a schema, they are validated when they are written and read. */
  bucket<T = Json>(name: string, schema?: Schema<T>): Bucket<T> {
    return new Bucket<T>(this, name, schema);
  }

  /** Returns the document of a key, now or at a point in the past; undefined if there is none. */
  async get<T = Json>(
    bucket: string,
    key: string,
    options: ClientGetOptions = {},
  ): Promise<ClientDocument<T> | undefined> {
    const found = await this.#seen.read("get", bucket, options, (reading) =>
      this.#access.get(bucket, key, reading),
    );
    if (found !== undefined) this.#seen.saw(found.revision);
    return found as ClientDocument<T> | undefined;
  }

  /** Yields the documents of a list, all as of one transaction. Pages are fetched as they are consumed. */
  async *list<T = Json>(
    bucket: string,
    query: ClientListQuery = {},
  ): AsyncGenerator<ClientDocument<T>, void, void> {
    let page = await this.page<T>(bucket, checkedOptions("list", query));
    for (;;) {
      yield* page.documents;
      if (page.next === undefined) return;
      page = await this.page<T>(bucket, query, page.next);
    }
  }

  /** Returns one page of a list; `cursor` is the `next` of the previous page. */
  async page<T = Json>(bucket: string, query: ClientListQuery = {}, cursor?: string): Promise<ClientPage<T>> {
    const page = await this.#seen.read("page", bucket, query, (reading) =>
      this.#access.page(bucket, reading, cursor),
    );
    this.#seen.saw(page.txId);
    return page as ClientPage<T>;
  }

  /** Yields the versions of a document, newest first. Pages are fetched as they are consumed. */
  async *history<T = Json>(
    bucket: string,
    key: string,
    { pageSize, ...options }: ClientHistoryOptions = {},
  ): AsyncGenerator<ClientVersion<T>, void, void> {
    let cursor: string | undefined;
    do {
      const after = cursor;
      const page = await this.#seen.read("history", bucket, options, (reading) =>
        this.#access.versions(bucket, key, { ...reading, limit: pageSize, cursor: after }),
      );
      cursor = page.next;
      yield* page.versions as readonly ClientVersion<T>[];
    } while (cursor !== undefined);
  }

  /** Writes a document. If `ifRevision` is given, throws `CONFLICT` unless the document is at that revision. */
  async put<T>(
    bucket: string,
    key: string,
    document: T & Faithful<T>,
    options: WriteOptions = {},
  ): Promise<Written> {
    return await this.#write(["put", bucket, key, document as Json], checkedOptions("put", options));
  }

  /** Deletes a document if it exists. If `ifRevision` is given, throws `CONFLICT` unless it is at that revision. */
  async delete(bucket: string, key: string, options: WriteOptions = {}): Promise<Written> {
    return await this.#write(["delete", bucket, key], checkedOptions("delete", options));
  }

  /**
   * Replaces a document by what `change` returns for it, and again if another write comes first. Nothing is written if
   * `change` returns undefined or throws. Returns the document as it is then.
   */
  async update<T = Json>(
    bucket: string,
    key: string,
    change: DocumentChange<T>,
    options: WaitOptions = {},
  ): Promise<ClientDocument<T> | undefined> {
    return await updateDocument(this, bucket, key, change, checkedOptions("update", options));
  }

  /** Writes many documents, in transactions of bounded size, of which several are under way at once. */
  async load<T = Json>(
    bucket: string,
    documents: LoadedDocuments<T>,
    options: LoadOptions = {},
  ): Promise<{ readonly documents: number }> {
    const client = { transact: this.#transact.bind(this) };
    return await loadDocuments(client, bucket, documents, checkedOptions("load", options));
  }

  /**
   * Deletes the documents of a bucket that exist now, of a namespace or with a prefix, a page at a time. Not atomic:
   * documents that are written meanwhile may stay.
   */
  async deleteAll(bucket: string, query: RemoveQuery = {}): Promise<Removed> {
    return await deleteDocuments(this, bucket, checkedRemoval(query));
  }

  /** Submits a transaction, waits until it is indexed, and returns its outcome. */
  async transact<Operation extends AnyOperation = TxOperation>(
    transaction: Transaction<NoInfer<Operation>>,
    options: WaitOptions = {},
  ): Promise<TxOutcome> {
    requireJsonOps(transaction);
    const outcome = await this.#transact(transaction, checkedOptions("transact", options));
    return await this.#first(outcome, options);
  }

  /** Submits a transaction and returns its id once it is in the log. */
  async submit<Operation extends AnyOperation = TxOperation>(
    transaction: Transaction<NoInfer<Operation>>,
    options: CallOptions = {},
  ): Promise<{ readonly txId: TxId }> {
    requireJsonOps(transaction);
    return this.#seen.noted(
      await this.#access.submit(withId(transaction), checkedOptions("submit", options)),
    );
  }

  /** Waits until the transaction is indexed. Throws `TX_TIMEOUT` after `timeoutMs` (default 30,000). */
  async await(txId: TxId, options: WaitOptions = {}): Promise<TxOutcome> {
    return this.#seen.noted(await this.#access.await(txId, checkedOptions("await", options)));
  }

  /** Yields every transaction that changes watched documents, once and in order, across nodes and connections. */
  watch<T = Json>(query: ClientWatchQuery = {}): AsyncGenerator<ClientTransaction<T>, void, void> {
    return cancellable(
      () => checkedOptions("watch", query),
      (until) => this.#access.watch(until),
      // Later reads include what was yielded, from whichever node they come.
      (transaction) => this.#seen.noted(transaction as ClientTransaction<T>),
    );
  }

  /**
   * Yields batches that keep a copy of documents exact, whatever policies remove: first all documents, unless the nodes
   * can continue from the position `from`, and then the new states of those that change (docs/watch.md#following).
   */
  follow<T = Json>(query: ClientFollowQuery = {}): AsyncGenerator<ClientStates<T>, void, void> {
    return cancellable(
      () => checkedOptions("follow", query),
      (until) => this.#access.follow(until),
      (states) => this.#seen.noted(states as ClientStates<T>),
    );
  }

  /** Returns the buckets with their numbers of documents, and of each value of their indexed fields. */
  async buckets(options: ClientReadOptions = {}): Promise<ClientBuckets> {
    return this.#seen.noted(
      await this.#seen.read("buckets", undefined, options, (reading) => this.#access.buckets(reading)),
    );
  }

  /** Returns the policies in force (docs/policies.md). */
  async policies(options: ClientReadOptions = {}): Promise<PolicyState> {
    return await this.#seen.read("policies", undefined, options, (reading) => this.#access.policies(reading));
  }

  /** Sets the policies. If `ifRevision` is given, throws `CONFLICT` unless they are at that revision. */
  async setPolicies(policies: Policies, { ifRevision, ...options }: WriteOptions = {}): Promise<Written> {
    return await this.#write(
      ifRevision === undefined ? ["configure", policies] : ["configure", policies, ifRevision],
      checkedOptions("setPolicies", options),
    );
  }

  /** Returns the queues with their shards, ordered by name (docs/queues.md). */
  async queues(options: ClientReadOptions = {}): Promise<readonly QueueStatus[]> {
    return await this.#seen.read("queues", undefined, options, (reading) => this.#access.queues(reading));
  }

  /** Returns a queue with its shards. Throws `NOT_FOUND` if the bucket is not a queue. */
  async queue(name: string, options: ClientReadOptions = {}): Promise<QueueStatus> {
    return await this.#seen.read("queue", name, options, (reading) => this.#access.queue(name, reading));
  }

  /** `cursor` is the `next` of the previous page. Each page is as of its own transaction. */
  async openEntries<T = Json>(
    queue: string,
    shard: number,
    options: ClientEntriesOptions = {},
  ): Promise<OpenEntriesPage<T>> {
    const page = await this.#seen.read("openEntries", queue, options, (reading) =>
      this.#access.openEntries(queue, shard, reading),
    );
    this.#seen.saw(page.txId);
    return page as OpenEntriesPage<T>;
  }

  /** Returns an entry of a queue, open or finished, in whichever shard it is; undefined if there is none. */
  async entry<T = Json>(
    queue: string,
    name: string,
    options: ClientReadOptions = {},
  ): Promise<PlacedEntry<T> | undefined> {
    const found = await this.#seen.read("entry", queue, options, (reading) =>
      this.#access.entry(queue, name, reading),
    );
    return found as PlacedEntry<T> | undefined;
  }

  /** Enqueues an entry, and returns its shard. Throws `CONFLICT` if there is an entry of that name, or no room. */
  async enqueue<T>(
    queue: string,
    name: string,
    document: T & Faithful<T>,
    options: SubmitOptions = {},
  ): Promise<Written & { readonly shard: number | undefined }> {
    const hint = `If there is an entry of that name, use another name. If no shard has room, directors make some as entries are finished; to make room at once, raise "shards" or "cap" of ${queue} in the policies.`;
    const entry: TxOperation = ["enqueue", queue, name, document as Json];
    const outcome = await this.#committed(entry, checkedOptions("enqueue", options), hint);
    const { txId, txTime, position, shards: [shard] = [] } = outcome;
    return { txId, txTime, position, shard };
  }

  /**
   * Hands the open entries of a queue to `handle` until it is stopped, or fails in `done` (docs/queues.md#directors).
   */
  direct<T = Json>(queue: string, options: DirectorOptions<T>): Director {
    const director = directQueue(queueAccess(this), queue, options);
    this.#access.onDirector?.(director);
    return director;
  }

  /** Queries an index of the nodes' own. For one in SQLite, `text` is a statement that reads. */
  async sql(
    index: string,
    text: string,
    args: QueryArguments = [],
    options: ClientQueryOptions = {},
  ): Promise<ClientRows> {
    requireJson(args);
    return this.#seen.noted(
      await this.#seen.read("sql", undefined, options, (reading) =>
        this.#access.sql(index, text, args, reading),
      ),
    );
  }

  async recordEvent(event: EventRecord, options: SubmitOptions = {}): Promise<Written> {
    return await this.#write(["event", event], checkedOptions("recordEvent", options));
  }

  /** Returns the newest recorded events, newest first; with `before` (an event's id), only older ones. */
  async events(query: ClientEventQuery = {}): Promise<readonly ClientEvent[]> {
    return await this.#seen.read("events", query.bucket, query, (reading) => this.#access.events(reading));
  }

  async status(options: CallOptions = {}): Promise<NodeStatus> {
    return await this.#access.status(checkedOptions("status", options));
  }

  /**
   * Returns the status of all nodes of the log, as the current node sees them. It waits at most `timeoutMs` (default
   * 1,000) for nodes that do not respond.
   */
  async cluster(options: WaitOptions = {}): Promise<ClusterStatus> {
    return await this.#access.cluster(checkedOptions("cluster", options));
  }

  /** Returns the SHA-256 of the logical content of an index, and the transaction at which it was computed. */
  async digest(options: CallOptions = {}): Promise<{ readonly txId: TxId; readonly digest: string }> {
    return await this.#access.digest(checkedOptions("digest", options));
  }

  async #write(operation: TxOperation, options: WriteOptions): Promise<Written> {
    const { txId, txTime, position } = await this.#committed(operation, options);
    return { txId, txTime, position };
  }

  /**
   * Returns the outcome of the transaction that `outcome` repeats, because a repetition has an id and a time of its own.
   * Without the right to read it, or if a policy removed it, returns its id with the time of the repetition.
   */
  async #first(outcome: TxOutcome, options: WaitOptions): Promise<TxOutcome> {
    if (outcome.duplicateOf === undefined) return outcome;
    try {
      return await this.await(outcome.duplicateOf, options);
    } catch (error) {
      if (hasCode(error, "FORBIDDEN", "OUTCOME_REMOVED")) return { ...outcome, txId: outcome.duplicateOf };
      throw error;
    }
  }

  /** Throws `CONFLICT` unless the operation was committed. */
  async #committed(operation: TxOperation, options: WriteOptions, hint?: string): Promise<TxOutcome> {
    const { ifRevision, id, ...rest } = options;
    const [kind, bucket, key] = operation;
    // Each part by itself, so that the path in an error is one in the document.
    for (const part of [...operation, { ifRevision, id }]) requireJson(part);
    const ops: TxOperation[] = [operation];
    if (ifRevision !== undefined && (kind === "put" || kind === "delete"))
      ops.unshift(["match", bucket, key, ifRevision]);
    const outcome = await this.#transact(id === undefined ? { ops } : { ops, id }, rest);
    if (outcome.committed) return await this.#first(outcome, rest);
    const { reason, txId } = outcome;
    throw new CairnClientError("CONFLICT", `Nothing was written: ${reason.replace(/^CONFLICT: /, "")}.`, {
      status: 412,
      hint: refusalHint(kind, reason, hint),
      details: { txId },
    });
  }

  /** Submits a transaction whose parts were checked. */
  async #transact(transaction: Transaction<AnyOperation>, options: WaitOptions): Promise<TxOutcome> {
    return this.#seen.noted(await this.#access.transact(withId(transaction), options));
  }
}
