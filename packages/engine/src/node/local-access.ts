import {
  type ClientChange,
  CairnClientError,
  type ClientDocument,
  type ClientFollowQuery,
  type ClientReadOptions,
  type ClientStateChange,
  type ClientStates,
  type ClientTransaction,
  type ClientVersion,
  type ClientWatchQuery,
  type Director,
  type Json,
  type KnownCode,
  type PointInTime,
  type QueueEntry,
} from "@cairn/client";
import { LIMITS, LIST_FIRST, type NodeAccess, pointText, retryPauseMs } from "@cairn/client/protocol";
import { CairnError, Deadline, isCairnError, unlessAborted, wait } from "@cairn/kv";
import { badValue, omitUndefined, parseAsOf, parseDocumentKey } from "@cairn/text";
import { awaitSubmitted } from "../api/await-submitted.ts";
import type { NodeApi, ReadOptions } from "../api/node-api.ts";
import { nodeClosed } from "../api/not-ready.ts";
import type { AsOf, DocumentVersion, StoredDocument } from "../index/read/documents.ts";
import { type FieldQuery, parseFieldQuery } from "../index/read/field-query.ts";
import type { StateChange } from "../index/read/states.ts";
import { checkedQuery, parseRows } from "../own-indexes/queries/index-queries.ts";
import type { WatchChange } from "../index/read/transaction-event.ts";
import type { NodeReads } from "./node-reads.ts";

/** How long a call is repeated while the node is not ready, as over HTTP (ms). */
const RETRY_MS = 30_000;

interface Bounds {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** What clients in the same process use. */
export type LocalApi = Pick<
  NodeApi,
  keyof NodeReads | "phase" | "submit" | "queryIndex" | "status" | "cluster"
>;

/** A node, as clients in its process use it. `onDirector` is called with each director that they start. */
export class LocalAccess implements NodeAccess {
  readonly onDirector: (director: Director) => void;
  readonly #node: LocalApi;

  constructor(node: LocalApi, onDirector: (director: Director) => void = () => {}) {
    this.#node = node;
    this.onDirector = onDirector;
  }

  readonly get: NodeAccess["get"] = (bucket, key, { asOf, ...options }) =>
    this.#call(options, async (node) => {
      const query = { ...reading(options), ...pointOf(asOf) };
      const found = await node.get(parseDocumentKey(bucket, key), query);
      return found && clientDocument(found);
    });

  readonly page: NodeAccess["page"] = (bucket, query, cursor) =>
    this.#call(query, async (node) => {
      const { asOf, where = [], order, pageSize: limit, namespace, prefix, from, to } = query;
      const page = await node.list({
        bucket,
        ...reading(query),
        ...pointOf(asOf),
        ...omitUndefined({ limit, namespace, prefix, from, to, order, cursor }),
        where: [where].flat().map(fieldQuery),
      });
      const { txId, position, documents, cursor: next } = page;
      return { txId, position, documents: documents.map(clientDocument), next };
    });

  readonly versions: NodeAccess["versions"] = (bucket, key, { limit, cursor, ...options }) =>
    this.#call(options, async (node) => {
      const query = { ...reading(options), ...omitUndefined({ limit, cursor }) };
      const page = await node.history(parseDocumentKey(bucket, key), query);
      return { versions: page.versions.map(clientVersion), next: page.cursor };
    });

  readonly transact: NodeAccess["transact"] = (transaction, options) =>
    this.#call(options, async (node) => {
      const limit = new Deadline(options.timeoutMs ?? LIMITS.waitMs);
      const submitted = await node.submit(transaction, { timeoutMs: limit.leftMs });
      return (await awaitSubmitted(node, submitted, limit, (txId) => `await(${txId})`)).outcome;
    });

  readonly submit: NodeAccess["submit"] = (transaction, options) =>
    this.#call(options, async (node) => ({ txId: (await node.submit(transaction)).txId }));

  readonly await: NodeAccess["await"] = (txId, options) =>
    this.#call(options, (node) => node.await(txId, omitUndefined({ timeoutMs: options.timeoutMs })));

  readonly buckets: NodeAccess["buckets"] = (options) =>
    this.#call(options, (node) => node.buckets(reading(options)));

  readonly policies: NodeAccess["policies"] = (options) =>
    this.#call(options, async (node) => {
      const { revision, policies } = await node.policies(reading(options));
      return { revision, policies };
    });

  readonly queues: NodeAccess["queues"] = (options) =>
    this.#call(options, async (node) => (await node.queues(reading(options))).queues);

  readonly queue: NodeAccess["queue"] = (name, options) =>
    this.#call(options, async (node) => (await node.queue(name, reading(options))).queue);

  readonly openEntries: NodeAccess["openEntries"] = (queue, shard, { limit, cursor, ...options }) =>
    this.#call(options, async (node) => {
      const query = { queue, shard, ...reading(options), ...omitUndefined({ limit, cursor }) };
      const { txId, position, entries, cursor: next } = await node.openEntries(query);
      const found = entries.map(({ document, origin }) => queueEntry(document, origin.txId));
      return { txId, position, entries: found, next };
    });

  readonly entry: NodeAccess["entry"] = (queue, name, options) =>
    this.#call(options, async (node) => {
      const { entry } = await node.entry(queue, name, reading(options));
      if (entry === undefined) return undefined;
      const { document, place } = entry;
      return { ...queueEntry(document, place.txId), open: place.isOpen, moved: place.moved ?? null };
    });

  readonly sql: NodeAccess["sql"] = (index, text, args, { minTx, limit, timeoutMs, signal }) =>
    this.#call({ signal, timeoutMs }, async (node) => {
      const { query, limits } = checkedQuery({ sql: text, args, limit });
      const options = { ...omitUndefined({ minTx, timeoutMs }), limits, signal };
      return await parseRows(await node.queryIndex(index, query, options));
    });

  readonly events: NodeAccess["events"] = ({ limit, bucket, object, before, ...options }) =>
    this.#call(options, async (node) => {
      const query = { ...reading(options), ...omitUndefined({ limit, bucket, object, before }) };
      return (await node.events(query)).events;
    });

  async *watch({
    from: begin,
    onPosition,
    onReconnect,
    ...query
  }: ClientWatchQuery): AsyncGenerator<ClientTransaction, void, void> {
    let from = begin;
    const open = () => this.#node.watch(omitUndefined({ ...query, from }));
    for await (const event of this.#reopened({ ...query, onReconnect }, open)) {
      if (event.type === "cutoff" && event.reason === "regressed")
        throw new CairnClientError("WATCH_COMPACTED", event.message, { hint: LIST_FIRST });
      if ("ahead" in event) continue;
      from = event.position;
      if (event.type === "tx") yield { ...event, changes: event.changes.map(clientChange) };
      onPosition?.(event.position, event.txId);
    }
  }

  async *follow({
    from: begin,
    onReconnect,
    ...query
  }: ClientFollowQuery): AsyncGenerator<ClientStates, void, void> {
    let from = begin;
    const open = () => this.#node.follow(omitUndefined({ ...query, from }));
    for await (const batch of this.#reopened({ ...query, onReconnect }, open)) {
      if ("type" in batch) continue;
      from = batch.position;
      yield { ...batch, changes: batch.changes.map(clientState) };
    }
  }

  readonly status: NodeAccess["status"] = (options) => this.#call(options, (node) => node.status());

  readonly cluster: NodeAccess["cluster"] = ({ timeoutMs, ...options }) =>
    this.#call(options, (node) => node.cluster(omitUndefined({ timeoutMs })));

  readonly digest: NodeAccess["digest"] = (options) => this.#call(options, (node) => node.digest());

  async #call<T>({ signal, timeoutMs = RETRY_MS }: Bounds, work: (node: LocalApi) => Promise<T>): Promise<T> {
    const until = performance.now() + Math.min(RETRY_MS, timeoutMs);
    for (let failures = 1; ; failures += 1) {
      signal?.throwIfAborted();
      try {
        return await unlessAborted(work(this.#node), signal);
      } catch (error) {
        if (!isCairnError(error)) throw error;
        if (!this.#mayPass(error) || performance.now() >= until) throw this.#failure(error);
      }
      await wait(retryPauseMs(failures), signal);
    }
  }

  /** Opens a stream, and again after it ended or while the node is not ready. */
  async *#reopened<T>(
    { signal, onReconnect }: Bounds & Pick<ClientWatchQuery, "onReconnect">,
    open: () => AsyncIterable<T>,
  ): AsyncGenerator<T, void, void> {
    for (let failures = 0; ; failures += 1) {
      let end = new CairnError("NOT_READY", "The node has ended the stream.");
      try {
        for await (const one of open()) {
          failures = 0;
          yield one;
        }
      } catch (error) {
        if (!isCairnError(error)) throw error;
        end = error;
      }
      if (signal?.aborted === true) return;
      if (!this.#mayPass(end)) throw this.#failure(end);
      onReconnect?.(clientError(end));
      await wait(retryPauseMs(failures), signal);
    }
  }

  #mayPass({ code }: CairnError): boolean {
    return code === "NOT_READY" && this.#node.phase !== "stopping";
  }

  /** What was running when the node was closed may fail because its index is closed, or just end. */
  #failure(error: CairnError): CairnClientError {
    const isStored = "txId" in error.details;
    const isClosed = error.code === "NOT_READY" && this.#node.phase === "stopping" && !isStored;
    return clientError(isClosed ? nodeClosed() : error);
  }
}

/** Failures are those that a client has over HTTP, without a status. */
function clientError(error: CairnError): CairnClientError {
  const { message, hint, details } = error;
  // Every code of a node is known to clients, which the compiler checks here.
  const code: KnownCode = error.code;
  return new CairnClientError(code, message, { hint, details, cause: error });
}

function reading({ minTx, timeoutMs, stale, linearizable }: ClientReadOptions): ReadOptions {
  return omitUndefined({ minTx, timeoutMs, stale, linearizable });
}

function pointOf(asOf: PointInTime | undefined): { readonly asOf?: AsOf } {
  const text = pointText(asOf);
  return text === undefined ? {} : { asOf: parseAsOf(String(text), "asOf") };
}

function fieldQuery(text: string): FieldQuery {
  const query = parseFieldQuery(text);
  if (query !== undefined) return query;
  throw badValue(`where must be field:value or a range, such as age>=18, not ${JSON.stringify(text)}.`);
}

function parsed(json: string): Json {
  return JSON.parse(json) as Json;
}

function clientDocument({ namespace, name, revision, json }: StoredDocument): ClientDocument {
  return { namespace, name, revision, document: parsed(json) };
}

function clientVersion({ revision, txTime, json }: DocumentVersion): ClientVersion {
  const head = { revision, txTime };
  return json === undefined
    ? { ...head, deleted: true }
    : { ...head, deleted: false, document: parsed(json) };
}

function queueEntry({ namespace, name, revision, json }: StoredDocument, createdTx: number): QueueEntry {
  return { shard: Number(namespace), name, revision, createdTx, document: parsed(json) };
}

function clientChange({ op, json, ...key }: WatchChange): ClientChange {
  return op === "put" ? { op, ...key, document: parsed(json ?? "null") } : { op, ...key };
}

function clientState(change: StateChange): ClientStateChange {
  if (change.op !== "put") return change;
  const { json, ...key } = change;
  return { ...key, document: parsed(json) };
}
