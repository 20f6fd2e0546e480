import { hasCode } from "./types/client-error.ts";
import type { ClientReadOptions, HttpClientOptions, WaitOptions } from "./types/client-types.ts";
import type { AnyOperation, Transaction } from "./types/transaction.ts";
import { escapedName } from "./escaped.ts";
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

class HttpAccess implements NodeAccess {
  readonly #pool: NodePool;

  constructor(pool: NodePool) {
    this.#pool = pool;
  }

  readonly get: NodeAccess["get"] = async (bucket, key, { asOf, ...options }) => {
    const query = { key: qualified(key), "as-of": pointText(asOf) };
    const answer = await unlessNotFound(this.#read(bucketPath(bucket), query, options));
    if (answer === undefined) return undefined;
    return { ...splitKey(key), revision: revisionOf(answer.headers), document: answer.body as never };
  };

  readonly page: NodeAccess["page"] = async (bucket, query, cursor) => {
    const { namespace, prefix, from, to, asOf, where, order, pageSize: limit } = query;
    const selection = { namespace, prefix, from, to };
    const parameters = { ...selection, where, order, limit, cursor, "as-of": pointText(asOf) };
    const answer = await this.#read(bucketPath(bucket), parameters, query);
    return { ...pagePlace(answer), documents: answer.body as never };
  };

  readonly versions: NodeAccess["versions"] = async (bucket, key, { limit, cursor, ...options }) => {
    const query = { key: qualified(key), history: true, limit, cursor };
    const answer = await unlessNotFound(this.#read(bucketPath(bucket), query, options));
    if (answer === undefined) return { versions: [], next: undefined };
    return { versions: answer.body as never, next: nextCursor(answer) };
  };

  readonly transact: NodeAccess["transact"] = async (transaction, options) =>
    await this.#post(transaction, { await: true, timeout: options.timeoutMs }, options);

  readonly submit: NodeAccess["submit"] = async (transaction, options) =>
    await this.#post(transaction, {}, options);

  readonly await: NodeAccess["await"] = async (txId, { timeoutMs, signal }) => {
    const timeout = timeoutMs ?? WAIT_MS;
    const path = `/api/v1/tx/${txId}`;
    return await this.#json({ path, query: { timeout }, signal, timeoutMs, waitMs: timeout });
  };

  readonly buckets: NodeAccess["buckets"] = async (options) => {
    const answer = await this.#read("/api/v1/buckets", {}, options);
    return { txId: pagePlace(answer).txId, buckets: answer.body as never };
  };

  readonly policies: NodeAccess["policies"] = async (options) =>
    await this.#readBody("/api/v1/policies", {}, options);

  readonly queues: NodeAccess["queues"] = async (options) =>
    await this.#readBody("/api/v1/queues", {}, options);

  readonly queue: NodeAccess["queue"] = async (name, options) =>
    await this.#readBody(queuePath(name), {}, options);

  readonly openEntries: NodeAccess["openEntries"] = async (queue, shard, { limit, cursor, ...options }) => {
    const path = `${queuePath(queue)}/shards/${shard}/open`;
    const answer = await this.#read(path, { limit, cursor }, options);
    return { ...pagePlace(answer), entries: answer.body as never };
  };

  readonly entry: NodeAccess["entry"] = async (queue, name, options) => {
    const answer = await unlessNotFound(this.#read(`${queuePath(queue)}/entry`, { name }, options));
    // This throws if it is the queue that does not exist.
    if (answer === undefined) await this.queue(queue, options);
    return answer?.body as never;
  };

  readonly sql: NodeAccess["sql"] = async (index, sql, args, { minTx, limit, timeoutMs, signal }) => {
    return await this.#json({
      method: "POST",
      path: `/api/v1/sql/${escapedName(index)}`,
      query: { "min-tx": minTx, timeout: timeoutMs },
      body: { sql, args, limit },
      signal,
      timeoutMs,
      // All waits and the query itself end in this time.
      waitMs: timeoutMs ?? WAIT_MS,
    });
  };

  readonly events: NodeAccess["events"] = async ({ limit, bucket, object, before, ...options }) =>
    await this.#readBody("/api/v1/events", { limit, bucket, object, before }, options);

  readonly watch: NodeAccess["watch"] = (query) => watchOverHttp(this.#pool, query);
  readonly follow: NodeAccess["follow"] = (query) => followOverHttp(this.#pool, query);
  readonly status: NodeAccess["status"] = async ({ signal }) => await this.#json({ path: "/status", signal });

  readonly cluster: NodeAccess["cluster"] = async ({ timeoutMs: timeout, signal }) => {
    const waitMs = 4 * (timeout ?? 1_000);
    return await this.#json({ path: "/status/cluster", query: { timeout }, signal, waitMs });
  };

  readonly digest: NodeAccess["digest"] = async ({ signal }) =>
    await this.#json({ path: "/api/v1/digest", signal });

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

  async #readBody<T>(path: string, query: Query, options: ClientReadOptions): Promise<T> {
    return (await this.#read(path, query, options)).body as T;
  }

  async #json<T>(request: PoolRequest): Promise<T> {
    return (await this.#pool.send(request, readJsonAnswer)).body as T;
  }
}

/** Throws a TypeError for a wrong address, or none. */
export function httpAccess(options: HttpClientOptions): NodeAccess {
  const { token, fetch, retryForMs, attemptMs } = options;
  const urls = [options.urls].flat().map(checkedUrl);
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

async function unlessNotFound<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (hasCode(error, "NOT_FOUND")) return undefined;
    throw error;
  }
}
