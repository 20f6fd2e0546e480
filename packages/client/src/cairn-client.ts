import type { ClusterStatus } from "./types/cluster-status.ts";
import type { LogOverview } from "./types/log-overview.ts";
import type { NodeStatus } from "./types/node-status.ts";
import type { OpenEntriesPage, PlacedEntry, QueueEntry, QueueStatus } from "./types/queues.ts";
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
import { type Director, directQueue } from "./queues/director.ts";
import type { DirectorOptions } from "./queues/director-options.ts";
import type { QueueAccess } from "./queues/queue-access.ts";
import type {
  CallOptions,
  ClientDocument,
  ClientEvent,
  ClientListQuery,
  ClientOptions,
  ClientPage,
  ClientReadOptions,
  ClientTransaction,
  ClientVersion,
  ClientWatchQuery,
  PointInTime,
  WaitOptions,
  WriteOptions,
  Written,
} from "./types/client-types.ts";
import { NodePool, type PoolRequest } from "./node-pool.ts";
import { type JsonAnswer, readJsonAnswer } from "./node-request.ts";
import {
  bucketPath,
  checkedUrl,
  nextCursor,
  pagePlace,
  pointText,
  qualified,
  queuePath,
  revisionOf,
  splitKey,
} from "./request-parts.ts";
import { watchTransactions } from "./watch-transactions.ts";

/** How long the node is asked to wait by default. */
const WAIT_MS = 30_000;

/**
 * An HTTP client for the nodes of one log. Calls go to one node until it fails, and then to the next. Transient
 * failures are retried. Writes carry an idempotency id, so they are applied once. Unless `readYourWrites` is false,
 * reads never return a state that is older than the state that this client wrote or saw before. A key is
 * `namespace/name`, or just a name in the namespace `default`.
 */
export class CairnClient {
  readonly #pool: NodePool;
  readonly #readsItsWrites: boolean;
  #lastTx: TxId = 0;

  constructor(options: ClientOptions) {
    const urls = (typeof options.urls === "string" ? [options.urls] : options.urls).map(checkedUrl);
    if (urls.length === 0) throw new TypeError("A client must be given the address of at least one node.");
    this.#readsItsWrites = options.readYourWrites ?? true;
    this.#pool = new NodePool({
      urls,
      token: options.token,
      // A browser's fetch cannot be called as a method of another object.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      retryForMs: options.retryForMs ?? 30_000,
      attemptMs: options.attemptMs ?? 10_000,
    });
  }

  /** The last transaction that this client wrote or saw. With it as `minTx`, other clients see at least that state. */
  get lastTx(): TxId {
    return this.#lastTx;
  }

  /** Returns the document of a key, now or at a point in the past; undefined if there is none. */
  async get<T = Json>(
    bucket: string,
    key: string,
    options: ClientReadOptions & { readonly asOf?: PointInTime } = {},
  ): Promise<ClientDocument<T> | undefined> {
    const query = { key: qualified(key), "as-of": pointText(options.asOf) };
    const answer = await unlessNotFound(this.#read(bucketPath(bucket), query, options));
    if (answer === undefined) return undefined;
    const revision = revisionOf(answer.headers);
    this.#saw(revision);
    return { ...splitKey(key), revision, document: answer.body as T };
  }

  /** Yields the documents of a list, all as of one transaction. Pages are fetched as they are consumed. */
  async *list<T = Json>(
    bucket: string,
    query: ClientListQuery = {},
  ): AsyncGenerator<ClientDocument<T>, void, void> {
    let page = await this.page<T>(bucket, query);
    for (;;) {
      yield* page.documents;
      if (page.next === undefined) return;
      page = await this.page<T>(bucket, query, page.next);
    }
  }

  /** Returns one page of a list; `cursor` is the `next` of the previous page. */
  async page<T = Json>(bucket: string, query: ClientListQuery = {}, cursor?: string): Promise<ClientPage<T>> {
    const { namespace, prefix, asOf, where, order, pageSize: limit } = query;
    const parameters = { namespace, prefix, where, order, limit, cursor, "as-of": pointText(asOf) };
    const { items, ...page } = await this.#page<ClientDocument<T>>(bucketPath(bucket), parameters, query);
    return { ...page, documents: items };
  }

  /** Yields the versions of a document, newest first. Pages are fetched as they are consumed. */
  async *history<T = Json>(
    bucket: string,
    key: string,
    options: ClientReadOptions & { readonly pageSize?: number } = {},
  ): AsyncGenerator<ClientVersion<T>, void, void> {
    let cursor: string | undefined;
    do {
      const query = { key: qualified(key), history: true, limit: options.pageSize, cursor };
      const answer = await this.#read(bucketPath(bucket), query, options);
      cursor = nextCursor(answer);
      yield* answer.body as ClientVersion<T>[];
    } while (cursor !== undefined);
  }

  /** Writes a document. If `ifRevision` is given, throws `CONFLICT` unless the document is at that revision. */
  async put(bucket: string, key: string, document: Json, options: WriteOptions = {}): Promise<Written> {
    return await this.#write(["put", bucket, key, document], options);
  }

  /** Deletes a document if it exists. If `ifRevision` is given, throws `CONFLICT` unless it is at that revision. */
  async delete(bucket: string, key: string, options: WriteOptions = {}): Promise<Written> {
    return await this.#write(["delete", bucket, key], options);
  }

  /** Submits a transaction, waits until it is indexed, and returns its outcome. */
  async transact<Operation extends AnyOperation = TxOperation>(
    transaction: Transaction<NoInfer<Operation>>,
    options: WaitOptions = {},
  ): Promise<TxOutcome> {
    const query = { await: true, timeout: options.timeoutMs };
    return await this.#post<TxOutcome>(transaction, query, options);
  }

  /** Submits a transaction and returns its id once it is in the log. */
  async submit<Operation extends AnyOperation = TxOperation>(
    transaction: Transaction<NoInfer<Operation>>,
    options: CallOptions = {},
  ): Promise<{ readonly txId: TxId }> {
    return await this.#post(transaction, {}, options);
  }

  /** Waits until the transaction is indexed. Throws `TX_TIMEOUT` after `timeoutMs` (default 30,000). */
  async await(txId: TxId, { timeoutMs: timeout = WAIT_MS, signal }: WaitOptions = {}): Promise<TxOutcome> {
    const path = `/api/v1/tx/${txId}`;
    const outcome = await this.#json<TxOutcome>({ path, query: { timeout }, signal, waitMs: timeout });
    this.#saw(outcome.txId);
    return outcome;
  }

  /** Yields every transaction that changes watched documents, once and in order, across nodes and connections. */
  watch<T = Json>(query: ClientWatchQuery = {}): AsyncGenerator<ClientTransaction<T>, void, void> {
    return watchTransactions<T>(this.#pool, query);
  }

  /** Returns the queues with their shards, ordered by name (docs/queues.md). */
  async queues(options: ClientReadOptions = {}): Promise<QueueStatus[]> {
    return (await this.#read("/api/v1/queues", {}, options)).body as QueueStatus[];
  }

  /** Returns a queue with its shards. Throws `NOT_FOUND` if the bucket is not a queue. */
  async queue(name: string, options: ClientReadOptions = {}): Promise<QueueStatus> {
    return (await this.#read(queuePath(name), {}, options)).body as QueueStatus;
  }

  /** `cursor` is the `next` of the previous page. Each page is as of its own transaction. */
  async openEntries<T = Json>(
    queue: string,
    shard: number,
    {
      limit,
      cursor,
      ...options
    }: ClientReadOptions & { readonly limit?: number; readonly cursor?: string | undefined } = {},
  ): Promise<OpenEntriesPage<T>> {
    const path = `${queuePath(queue)}/shards/${shard}/open`;
    const { items, ...page } = await this.#page<QueueEntry<T>>(path, { limit, cursor }, options);
    return { ...page, entries: items };
  }

  /** Returns an entry of a queue, open or finished, in whichever shard it is; undefined if there is none. */
  async entry<T = Json>(
    queue: string,
    name: string,
    options: ClientReadOptions = {},
  ): Promise<PlacedEntry<T> | undefined> {
    const answer = await unlessNotFound(this.#read(`${queuePath(queue)}/entry`, { name }, options));
    // This throws if it is the queue that does not exist.
    if (answer === undefined) await this.queue(queue, options);
    return answer?.body as PlacedEntry<T> | undefined;
  }

  /** Enqueues an entry, and returns its shard. Throws `CONFLICT` if there is an entry of that name, or no room. */
  async enqueue(
    queue: string,
    name: string,
    document: Json,
    options: Omit<WriteOptions, "ifRevision"> = {},
  ): Promise<Written & { readonly shard: number | undefined }> {
    const hint = `If there is an entry of that name, use another name. If no shard has room, directors make some as entries are finished; to make room at once, raise "shards" or "cap" of ${queue} in the policies.`;
    const outcome = await this.#committed(["enqueue", queue, name, document], options, hint);
    const { txId, txTime, shards: [shard] = [] } = outcome;
    return { txId, txTime, shard };
  }

  /**
   * Hands the open entries of a queue to `handle` until it is stopped, or fails in `done` (docs/queues.md#directors).
   */
  direct<T extends Json = Json>(queue: string, options: DirectorOptions<T>): Director {
    return directQueue(this.#queueAccess(), queue, options);
  }

  #queueAccess(): QueueAccess {
    return {
      transact: async (transaction, signal) => await this.transact<AnyOperation>(transaction, { signal }),
      queue: async (name, signal) => await this.queue(name, { signal }),
      openEntries: async ({ queue, shard, ...query }, signal) =>
        await this.openEntries(queue, shard, { ...query, signal }),
      watch: (bucket, from, signal) => this.#watchAndSee({ bucket, from, signal }),
    };
  }

  /** Watches, and has later reads include what was yielded, from whichever node they come. */
  async *#watchAndSee(query: ClientWatchQuery): AsyncGenerator<ClientTransaction, void, void> {
    for await (const transaction of this.watch(query)) {
      this.#saw(transaction.txId);
      yield transaction;
    }
  }

  async recordEvent(event: EventRecord, options: WriteOptions = {}): Promise<Written> {
    return await this.#write(["event", event], options);
  }

  /** Returns the newest recorded events, newest first; with `before` (an event's id), only older ones. */
  async events(
    query: ClientReadOptions & {
      readonly limit?: number;
      readonly bucket?: string;
      readonly object?: string;
      readonly before?: string;
    } = {},
  ): Promise<ClientEvent[]> {
    const { limit, bucket, object, before } = query;
    const { body } = await this.#read("/api/v1/events", { limit, bucket, object, before }, query);
    return body as ClientEvent[];
  }

  async status({ signal }: CallOptions = {}): Promise<NodeStatus> {
    return await this.#json({ path: "/status", signal });
  }

  /**
   * Returns the status of all nodes of the log, as the current node sees them. It waits at most `timeoutMs` (default
   * 1,000) for nodes that do not respond.
   */
  async cluster({ timeoutMs: timeout, signal }: WaitOptions = {}): Promise<ClusterStatus> {
    const waitMs = 4 * (timeout ?? 1_000);
    return await this.#json({ path: "/status/cluster", query: { timeout }, signal, waitMs });
  }

  async log({ timeoutMs: timeout, signal }: WaitOptions = {}): Promise<LogOverview> {
    const waitMs = timeout ?? WAIT_MS;
    return await this.#json({ path: "/status/log", query: { timeout }, signal, waitMs });
  }

  /** Returns the SHA-256 of the logical content of an index, and the transaction at which it was computed. */
  async digest({ signal }: CallOptions = {}): Promise<{ readonly txId: TxId; readonly digest: string }> {
    return await this.#json({ path: "/api/v1/digest", signal });
  }

  async #write(operation: TxOperation, options: WriteOptions): Promise<Written> {
    const hint = "Read the document again before you write it.";
    const { txId, txTime } = await this.#committed(operation, options, hint);
    return { txId, txTime };
  }

  /**
   * Returns the outcome of the transaction that `outcome` repeats, because a repetition has an id and a time of its own.
   * Without the right to read it, or if a policy removed it, returns its id with the time of the repetition.
   */
  async #first(outcome: TxOutcome, options: Omit<WriteOptions, "ifRevision" | "id">): Promise<TxOutcome> {
    if (outcome.duplicateOf === undefined) return outcome;
    try {
      return await this.await(outcome.duplicateOf, options);
    } catch (error) {
      if (hasCode(error, "FORBIDDEN", "OUTCOME_REMOVED")) return { ...outcome, txId: outcome.duplicateOf };
      throw error;
    }
  }

  /** Throws `CONFLICT` with the hint unless the operation was committed. */
  async #committed(operation: TxOperation, options: WriteOptions, hint: string): Promise<TxOutcome> {
    const { ifRevision, id, ...rest } = options;
    const [kind, bucket, key] = operation;
    const ops: TxOperation[] = [operation];
    if (ifRevision !== undefined && (kind === "put" || kind === "delete")) {
      ops.unshift(["match", bucket, key, ifRevision]);
    }
    const transaction = id === undefined ? { ops } : { ops, id };
    const outcome = await this.transact(transaction, rest);
    if (outcome.committed) return await this.#first(outcome, rest);
    const reason = outcome.reason ?? "another write came first";
    throw new CairnClientError("CONFLICT", `Nothing was written: ${reason.replace(/^CONFLICT: /, "")}.`, {
      status: 412,
      hint,
      details: { txId: outcome.txId },
    });
  }

  async #post<T extends { readonly txId: TxId }>(
    transaction: Transaction<AnyOperation>,
    query: NonNullable<PoolRequest["query"]>,
    { signal, timeoutMs: waitMs = WAIT_MS }: WaitOptions,
  ): Promise<T> {
    // A transaction with an id is applied once, no matter how often and through which nodes it is sent.
    const body = { ...transaction, id: transaction.id ?? crypto.randomUUID() };
    const answer = await this.#json<T>({ method: "POST", path: "/api/v1/tx", query, body, signal, waitMs });
    this.#saw(answer.txId);
    return answer;
  }

  async #read(
    path: string,
    query: NonNullable<PoolRequest["query"]>,
    { minTx, timeoutMs: timeout, stale, linearizable, signal }: ClientReadOptions,
  ): Promise<JsonAnswer> {
    const minimum = minTx ?? (this.#readsItsWrites && this.#lastTx > 0 ? this.#lastTx : undefined);
    const waitMs = minimum === undefined && linearizable !== true ? 0 : (timeout ?? WAIT_MS);
    const wanted = { ...query, "min-tx": minimum, timeout, stale, linearizable };
    return await this.#pool.send({ path, query: wanted, signal, waitMs }, readJsonAnswer);
  }

  /** Reads a page of a list as of one transaction. */
  async #page<T>(
    path: string,
    query: NonNullable<PoolRequest["query"]>,
    options: ClientReadOptions,
  ): Promise<Omit<ClientPage, "documents"> & { readonly items: readonly T[] }> {
    const answer = await this.#read(path, query, options);
    const place = pagePlace(answer);
    this.#saw(place.txId);
    return { ...place, items: answer.body as T[] };
  }

  async #json<T>(request: PoolRequest): Promise<T> {
    return (await this.#pool.send(request, readJsonAnswer)).body as T;
  }

  #saw(txId: TxId): void {
    if (txId > this.#lastTx) this.#lastTx = txId;
  }
}

/** Resolves with undefined if there is nothing to read. */
async function unlessNotFound<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (hasCode(error, "NOT_FOUND")) return undefined;
    throw error;
  }
}
