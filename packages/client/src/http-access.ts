import { hasCode } from "./types/client-error.ts";
import type {
  CallOptions,
  ClientBuckets,
  ClientDocument,
  ClientEvent,
  ClientEventQuery,
  ClientFollowQuery,
  ClientListQuery,
  ClientPage,
  ClientReadOptions,
  ClientStates,
  ClientTransaction,
  ClientVersion,
  ClientWatchQuery,
  HttpClientOptions,
  PageOptions,
  PointInTime,
  WaitOptions,
} from "./types/client-types.ts";
import type { ClusterStatus } from "./types/cluster-status.ts";
import type { LogOverview } from "./types/log-overview.ts";
import type { NodeStatus } from "./types/node-status.ts";
import type { BucketSummary, PolicyState } from "./types/policies.ts";
import type { OpenEntriesPage, PlacedEntry, QueueEntry, QueueStatus } from "./types/queues.ts";
import type { AnyOperation, Transaction, TxId, TxOutcome } from "./types/transaction.ts";
import type { NodeAccess } from "./node-access.ts";
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
import { followOverHttp, watchOverHttp } from "./watch-transactions.ts";

/** How long the node is asked to wait by default. */
const WAIT_MS = 30_000;

type Query = NonNullable<PoolRequest["query"]>;

/** Nodes over HTTP. */
class HttpAccess implements NodeAccess {
  readonly #pool: NodePool;

  constructor(pool: NodePool) {
    this.#pool = pool;
  }

  async get(
    bucket: string,
    key: string,
    { asOf, ...options }: ClientReadOptions & { readonly asOf?: PointInTime | undefined },
  ): Promise<ClientDocument | undefined> {
    const query = { key: qualified(key), "as-of": pointText(asOf) };
    const answer = await unlessNotFound(this.#read(bucketPath(bucket), query, options));
    if (answer === undefined) return undefined;
    return { ...splitKey(key), revision: revisionOf(answer.headers), document: answer.body as never };
  }

  async page(bucket: string, query: ClientListQuery, cursor: string | undefined): Promise<ClientPage> {
    const { namespace, prefix, from, to, asOf, where, order, pageSize: limit } = query;
    const selection = { namespace, prefix, from, to };
    const parameters = { ...selection, where, order, limit, cursor, "as-of": pointText(asOf) };
    const answer = await this.#read(bucketPath(bucket), parameters, query);
    return { ...pagePlace(answer), documents: answer.body as ClientDocument[] };
  }

  async versions(
    bucket: string,
    key: string,
    { limit, cursor, ...options }: ClientReadOptions & PageOptions,
  ): Promise<{ readonly versions: readonly ClientVersion[]; readonly next: string | undefined }> {
    const query = { key: qualified(key), history: true, limit, cursor };
    const answer = await this.#read(bucketPath(bucket), query, options);
    return { versions: answer.body as ClientVersion[], next: nextCursor(answer) };
  }

  async transact(transaction: Transaction<AnyOperation>, options: WaitOptions): Promise<TxOutcome> {
    return await this.#post(transaction, { await: true, timeout: options.timeoutMs }, options);
  }

  async submit(
    transaction: Transaction<AnyOperation>,
    options: CallOptions,
  ): Promise<{ readonly txId: TxId }> {
    return await this.#post(transaction, {}, options);
  }

  async await(txId: TxId, { timeoutMs, signal }: WaitOptions): Promise<TxOutcome> {
    const timeout = timeoutMs ?? WAIT_MS;
    const path = `/api/v1/tx/${txId}`;
    return await this.#json({ path, query: { timeout }, signal, timeoutMs, waitMs: timeout });
  }

  async buckets(options: ClientReadOptions): Promise<ClientBuckets> {
    const answer = await this.#read("/api/v1/buckets", {}, options);
    return { txId: pagePlace(answer).txId, buckets: answer.body as BucketSummary[] };
  }

  async policies(options: ClientReadOptions): Promise<PolicyState> {
    return (await this.#read("/api/v1/policies", {}, options)).body as PolicyState;
  }

  async queues(options: ClientReadOptions): Promise<readonly QueueStatus[]> {
    return (await this.#read("/api/v1/queues", {}, options)).body as QueueStatus[];
  }

  async queue(name: string, options: ClientReadOptions): Promise<QueueStatus> {
    return (await this.#read(queuePath(name), {}, options)).body as QueueStatus;
  }

  async openEntries(
    queue: string,
    shard: number,
    { limit, cursor, ...options }: ClientReadOptions & PageOptions,
  ): Promise<OpenEntriesPage> {
    const path = `${queuePath(queue)}/shards/${shard}/open`;
    const answer = await this.#read(path, { limit, cursor }, options);
    return { ...pagePlace(answer), entries: answer.body as QueueEntry[] };
  }

  async entry(queue: string, name: string, options: ClientReadOptions): Promise<PlacedEntry | undefined> {
    const answer = await unlessNotFound(this.#read(`${queuePath(queue)}/entry`, { name }, options));
    // This throws if it is the queue that does not exist.
    if (answer === undefined) await this.queue(queue, options);
    return answer?.body as PlacedEntry | undefined;
  }

  async events({ limit, bucket, object, before, ...options }: ClientEventQuery): Promise<ClientEvent[]> {
    const { body } = await this.#read("/api/v1/events", { limit, bucket, object, before }, options);
    return body as ClientEvent[];
  }

  watch(query: ClientWatchQuery): AsyncGenerator<ClientTransaction, void, void> {
    return watchOverHttp(this.#pool, query);
  }

  follow(query: ClientFollowQuery): AsyncGenerator<ClientStates, void, void> {
    return followOverHttp(this.#pool, query);
  }

  async status({ signal }: CallOptions): Promise<NodeStatus> {
    return await this.#json({ path: "/status", signal });
  }

  async cluster({ timeoutMs: timeout, signal }: WaitOptions): Promise<ClusterStatus> {
    const waitMs = 4 * (timeout ?? 1_000);
    return await this.#json({ path: "/status/cluster", query: { timeout }, signal, waitMs });
  }

  async log({ timeoutMs: timeout, signal }: WaitOptions): Promise<LogOverview> {
    return await this.#json({ path: "/status/log", query: { timeout }, signal, waitMs: timeout ?? WAIT_MS });
  }

  async digest({ signal }: CallOptions): Promise<{ readonly txId: TxId; readonly digest: string }> {
    return await this.#json({ path: "/api/v1/digest", signal });
  }

  async #post<T>(
    body: Transaction<AnyOperation>,
    query: Query,
    { signal, timeoutMs }: WaitOptions,
  ): Promise<T> {
    const waitMs = timeoutMs ?? WAIT_MS;
    return await this.#json({ method: "POST", path: "/api/v1/tx", query, body, signal, timeoutMs, waitMs });
  }

  async #read(
    path: string,
    query: Query,
    { minTx, timeoutMs: timeout, stale, linearizable, signal }: ClientReadOptions,
  ): Promise<JsonAnswer> {
    const waitMs = minTx === undefined && linearizable !== true ? 0 : (timeout ?? WAIT_MS);
    const wanted = { ...query, "min-tx": minTx, timeout, stale, linearizable };
    const request = { path, query: wanted, signal, timeoutMs: timeout, waitMs };
    return await this.#pool.send(request, readJsonAnswer);
  }

  async #json<T>(request: PoolRequest): Promise<T> {
    return (await this.#pool.send(request, readJsonAnswer)).body as T;
  }
}

/** Throws a TypeError for a wrong address, or none. */
export function httpAccess({
  urls: given,
  token,
  fetch,
  retryForMs,
  attemptMs,
}: HttpClientOptions): NodeAccess {
  const urls = (typeof given === "string" ? [given] : given).map(checkedUrl);
  if (urls.length === 0) throw new TypeError("A client must be given the address of at least one node.");
  return new HttpAccess(
    new NodePool({
      urls,
      token,
      // A browser's fetch cannot be called as a method of another object.
      fetch: fetch ?? ((input, init) => globalThis.fetch(input, init)),
      retryForMs: retryForMs ?? 30_000,
      attemptMs: attemptMs ?? 10_000,
    }),
  );
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
