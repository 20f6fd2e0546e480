import { isDeepStrictEqual } from "node:util";
import { CairnError, Deadline, TIMED_OUT, TimeSlice, withTimeout } from "@cairn/kv";
import type { DocumentKey, QueuePolicy, TxId } from "@cairn/client";
import { LIMITS, MAKE_QUEUE } from "@cairn/client/protocol";
import type { NodeApi, ReadOptions, SubmittedTransaction } from "../api/node-api.ts";
import { notReady } from "../api/not-ready.ts";
import type { System } from "../api/system.ts";
import type { RestoringSystem } from "../checkpoints/checkpoint-stores.ts";
import type { IndexStore } from "../index/index-store.ts";
import { readBuckets } from "../index/read/bucket-reads.ts";
import { cursorTx } from "../index/read/cursor.ts";
import { MAX_PAGE_BYTES, readDocumentBytes } from "../index/read/document-reads.ts";
import type { AsOf } from "../index/read/documents.ts";
import { readEvents } from "../index/read/event-reads.ts";
import { readEntry, readOpenEntries, readQueue, readQueues } from "../index/read/queue-reads.ts";
import { documentKey, ownMember, withCommands } from "@cairn/text";
import { messageChecksum, readFrame } from "../transactions/message-frame.ts";
import { followStates } from "../watch/follow-session.ts";
import type { WatchFeed } from "../watch/watch-feed.ts";
import { watch } from "../watch/watch-session.ts";
import { evictionPlaces, withOwnFiles } from "./node-evictions.ts";
import { type ReadableLife, ReadPlace } from "./read-place.ts";

/** A program without types could otherwise wait for what never comes. */
function checkedTxId(transaction: SubmittedTransaction | TxId): TxId {
  const txId = typeof transaction === "object" ? transaction?.txId : transaction;
  if (Number.isSafeInteger(txId) && txId >= 0) return txId;
  throw new CairnError(
    "REQUEST_INVALID",
    `${String(txId)} is not the id of a transaction.`,
    "Give what submit returned, or its txId, which is a whole number.",
  );
}

/** Checks the limit of a page. With an invalid limit, the page would end early, as if there were no more items. */
function checkedLimit(limit: number = LIMITS.defaultPageItems): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= LIMITS.pageItems) return limit;
  throw new CairnError(
    "REQUEST_INVALID",
    `The limit must be a whole number from 1 to ${LIMITS.pageItems}, not ${limit}.`,
    "Use a limit in this range, and read further pages with the cursor of the previous page.",
  );
}

function requireQueue({ state }: IndexStore, name: string): QueuePolicy {
  const { queues = {} } = state.policies?.value ?? {};
  const policy = ownMember(queues, name);
  if (policy === undefined) throw noQueue(name);
  return policy;
}

function noQueue(name: string): CairnError {
  return new CairnError(
    "NOT_FOUND",
    `${JSON.stringify(name)} is not a queue.`,
    `List the queues with cairn queue list or GET /api/v1/queues. ${MAKE_QUEUE}`,
  );
}

type ReadSystem = RestoringSystem & Pick<System, "commandLine" | "policies" | "logBackup">;

type IndexReadOptions = ReadOptions & {
  readonly asOf?: AsOf;
  readonly items?: number;
  /** The size of the result, see {@link ReadOptions.admit}. */
  readonly exact?: (() => Promise<number>) | undefined;
};
type PageOptions = IndexReadOptions & { readonly limit?: number; readonly cursor?: string | undefined };

/** A read that the node may refuse because of its phase can be repeated with stale=true. */
const READ = { hasStale: true };

/** A node's reads. They use only an index that agrees with the log, unless a read explicitly accepts stale data. */
export class NodeReads {
  readonly #life: ReadableLife;
  readonly #system: ReadSystem;
  readonly #place: ReadPlace;
  readonly #slice = new TimeSlice();

  /** `barrier` returns the transaction for which a linearizable read must wait. */
  constructor(life: ReadableLife, system: ReadSystem, barrier: (timeoutMs: number) => Promise<TxId>) {
    this.#life = life;
    this.#system = system;
    this.#place = new ReadPlace(life, barrier);
  }

  readonly indexed: NodeApi["indexed"] = async (txId, { timeoutMs = LIMITS.waitMs } = {}) => {
    const { position, phase } = this.#life;
    if (phase === "ready") await position.reached(txId, timeoutMs).catch(() => undefined);
    return position.txId;
  };

  readonly await: NodeApi["await"] = async (transaction, options) => {
    return (await this.commitResult(transaction, options)).outcome;
  };

  readonly commitResult: NodeApi["commitResult"] = async (
    transaction,
    { timeoutMs = LIMITS.waitMs } = {},
  ) => {
    const txId = checkedTxId(transaction);
    await this.#life.position.reached(txId, timeoutMs);
    const index = await this.#agreeing();
    if (typeof transaction !== "number") await this.#requireSame(transaction, index);
    const result = await this.#guarded(index, index.commitResult(txId));
    if (result !== undefined) return result;
    throw new CairnError(
      "NOT_FOUND",
      `The index has no transaction ${txId}.`,
      "Use a higher id. The first transaction id is the log's offset plus one.",
    );
  };

  /**
   * Throws `LOG_REGRESSED` unless the transaction's message is the one submitted: the log may have lost it after
   * acknowledging it. Transactions that the index no longer remembers are compared with the log.
   */
  async #requireSame({ txId, checksum }: SubmittedTransaction, index: IndexStore): Promise<void> {
    const held = index.checksumAt(txId) ?? (await this.#checksumInLog(txId - index.state.log.offset));
    if (held === checksum) return;
    throw new CairnError(
      "LOG_REGRESSED",
      `The log acknowledged the transaction as ${txId}, but transaction ${txId} is a different one: the log lost the transaction, or stored it elsewhere.`,
      "It is unknown whether the transaction was applied. Read what it writes. If that is not there, run cairn log orphans, which prints the transactions that the log has lost. If the transaction is not among them either, send it again.",
    );
  }

  async #checksumInLog(position: number): Promise<number | undefined> {
    const message = await this.#life.log?.fetch(position);
    return message === undefined ? undefined : messageChecksum(message.payload);
  }

  readonly prepareRead: NodeApi["prepareRead"] = async (options) => await this.#place.reached(options);

  readonly outcome: NodeApi["outcome"] = async (txId) => {
    const index = await this.#agreeing();
    return await this.#guarded(index, index.outcome(checkedTxId(txId)));
  };

  readonly writerOf: NodeApi["writerOf"] = async (txId) => {
    const position = txId - (await this.#agreeing()).state.log.offset;
    const message = position < 1 ? undefined : await this.#life.log?.fetch(position);
    const frame = message === undefined ? undefined : readFrame(message.payload);
    return frame === undefined || typeof frame === "string" ? undefined : (frame.by ?? null);
  };

  /** In a different history, the same id could belong to a different transaction. */
  async #agreeing(): Promise<IndexStore> {
    await this.#slice.yieldIfOver();
    const { index, agrees } = this.#life;
    if (index === undefined || !agrees) throw notReady(this.#life);
    return index;
  }

  readonly get: NodeApi["get"] = async (key, options = {}) => {
    // Most reads need not wait, so no promise is created for them.
    const waits =
      this.#life.phase !== "ready" ||
      options.minTx !== undefined ||
      options.asOf !== undefined ||
      options.linearizable === true;
    let { index } = this.#life;
    const exact = options.asOf === undefined ? () => this.#documentBytes(key, options) : undefined;
    const admitted =
      waits || index === undefined
        ? undefined
        : options.admit?.(index.state.largest, options.timeoutMs, exact);
    if (waits) index = await this.#readable({ ...options, exact });
    else if (admitted !== undefined) index = await this.#admitted(admitted, options);
    if (index === undefined) throw notReady(this.#life, READ);
    try {
      const document = index.get(key, options.asOf, options.onAsOf);
      if (!(document instanceof Promise)) return document;
      const found = await (index.isReadOnly ? inTime(document, options.timeoutMs) : document);
      // An awaited call to the store does not necessarily yield to the event loop.
      await this.#slice.yieldIfOver();
      return found;
    } catch (error) {
      throw this.#suspected(index, error);
    }
  };

  /** A document's size, so that the read of a small one need not wait for as much memory as the largest one needs. */
  async #documentBytes(key: DocumentKey, options: ReadOptions): Promise<number> {
    const { index } = this.#life;
    if (index === undefined) return 0;
    const reading = index.read(async (reader) => await readDocumentBytes(reader, key));
    return await this.#guarded(index, reading, options);
  }

  readonly list: NodeApi["list"] = async (query) => {
    // This checks the name of the bucket and, if one is given, the name of the namespace.
    documentKey(query.bucket, query.namespace ?? "default", "any");
    const where = query.where === undefined ? [] : [query.where].flat();
    // A list continues as of the transaction at which it began.
    const linearizable = query.linearizable === true && query.cursor === undefined;
    return await this.#page({ ...query, linearizable }, (index, limit) =>
      index.list({ ...query, limit, where }),
    );
  };

  readonly history: NodeApi["history"] = async (key, options = {}) => {
    return await this.#page(options, (index, limit) => {
      options.onAsOf?.(index.state.txId);
      return index.history(key, limit, options.cursor);
    });
  };

  readonly watch: NodeApi["watch"] = (query = {}) => watch(query, () => this.#feed());

  readonly follow: NodeApi["follow"] = (query = {}) => followStates(query, () => this.#feed());

  #feed(): WatchFeed {
    const watches = this.#life.services?.watches;
    if (watches === undefined || this.#life.phase !== "ready") throw notReady(this.#life);
    return watches;
  }

  readonly digest: NodeApi["digest"] = async (options = {}) => {
    // It would download the whole checkpoint to which a joining node is attached.
    if (this.#life.index?.isReadOnly === true && this.#life.phase !== "ready") throw notReady(this.#life);
    const index = await this.#readable(options);
    const digest = await this.#guarded(index, index.digest());
    if (digest === undefined) throw notReady(this.#life, READ);
    return digest;
  };

  readonly buckets: NodeApi["buckets"] = async (options = {}) =>
    await this.#read(options, (index) => index.ask(readBuckets));

  readonly queues: NodeApi["queues"] = async (options = {}) =>
    await this.#read(options, (index) => index.ask(readQueues));

  readonly queue: NodeApi["queue"] = async (name, options = {}) => {
    const { txId, queue } = await this.#read(options, (index) => index.ask(readQueue, name));
    if (queue === undefined) throw noQueue(name);
    return { txId, queue };
  };

  readonly openEntries: NodeApi["openEntries"] = async ({ queue, shard, ...options }) => {
    return await this.#page(options, async (index, limit) => {
      const { shards } = requireQueue(index, queue);
      if (!Number.isInteger(shard) || shard < 0 || shard >= shards) {
        throw new CairnError(
          "NOT_FOUND",
          `${JSON.stringify(queue)} has no shard ${shard}.`,
          `cairn queue show ${queue} and GET /api/v1/queues/${queue} show the number of shards in its policy, which are numbered from 0, and those that are not spare.`,
        );
      }
      return await index.ask(readOpenEntries, { queue, shard, limit, cursor: options.cursor });
    });
  };

  readonly entry: NodeApi["entry"] = async (queue, name, options = {}) => {
    return await this.#read(options, async (index) => {
      requireQueue(index, queue);
      return await index.ask(readEntry, queue, name);
    });
  };

  readonly events: NodeApi["events"] = async (query = {}) =>
    await this.#page({ ...query, items: LIMITS.pageItems }, (index, limit) =>
      index.ask(readEvents, { ...query, limit }),
    );

  readonly evictions: NodeApi["evictions"] = async (options = {}) => {
    const time = new Deadline(options.timeoutMs ?? LIMITS.waitMs);
    const { found, state } = await this.#page(
      { ...options, items: LIMITS.pageItems },
      async (index, limit) => {
        return { found: await index.evictions(limit, options.cursor), state: index.state };
      },
    );
    const page = withOwnFiles(found, this.#life.ownIndexes?.purged);
    const places = await evictionPlaces(page, state, this.#life.log, this.#system, time);
    return withCommands(places, this.#system.commandLine);
  };

  readonly policies: NodeApi["policies"] = async (options = {}) => {
    const { state } = await this.#readable(options);
    const { revision = null, value = {} } = state.policies ?? {};
    const { policies: proposed } = this.#system;
    const isSame = proposed !== undefined && isDeepStrictEqual(value, proposed);
    const file = proposed === undefined ? null : isSame ? "same" : "different";
    return { txId: state.txId, revision, policies: value, file };
  };

  /**
   * If `index` proves to be damaged or to belong to a different history from the log, the node leaves it. With `options`,
   * a read of a checkpoint ends in time even if its store does not answer.
   */
  async #guarded<T>(index: IndexStore, answer: Promise<T>, options?: ReadOptions): Promise<T> {
    try {
      return await (options !== undefined && index.isReadOnly ? inTime(answer, options.timeoutMs) : answer);
    } catch (error) {
      throw this.#suspected(index, error);
    }
  }

  /** Reads a page of a list. The node first reaches the place of the cursor, which may be of a node that was ahead. */
  async #page<T>(
    { limit, cursor, minTx = 0, ...options }: PageOptions,
    read: (index: IndexStore, limit: number) => Promise<T>,
  ): Promise<T> {
    const items = checkedLimit(limit);
    const after = cursor === undefined ? 0 : cursorTx(cursor);
    return await this.#read({ items, ...options, minTx: Math.max(minTx, after) }, (index) =>
      read(index, items),
    );
  }

  async #read<T>(options: IndexReadOptions, read: (index: IndexStore) => Promise<T>): Promise<T> {
    const index = await this.#readable(options);
    return await this.#guarded(index, read(index), options);
  }

  #suspected(index: IndexStore, error: unknown): unknown {
    return this.#life.suspect(index, error);
  }

  /** Returns the index for a read of at most `items`, once it contains the requested transactions. */
  async #readable(options: IndexReadOptions): Promise<IndexStore> {
    const { stale = false, linearizable = false, items = 1, exact } = options;
    if (!stale && this.#life.phase !== "ready") throw notReady(this.#life, linearizable ? {} : READ);
    await this.#place.reached(options);
    const largest = this.#life.index?.state.largest ?? 0;
    const bytes = resultBytes(items, largest);
    return await this.#admitted(options.admit?.(bytes, options.timeoutMs, exact), options);
  }

  /** Returns the index for a read that may begin once `admitted` resolves. */
  async #admitted(
    admitted: Promise<void> | undefined,
    { stale = false, minTx = 0 }: ReadOptions,
  ): Promise<IndexStore> {
    await admitted;
    await this.#slice.yieldIfOver();
    // The index is looked up again, because the node may have left the previous one during the wait.
    const { index, phase, attachment } = this.#life;
    const isEarlier = index !== undefined && index.state.txId < Math.max(minTx, attachment?.floor ?? 0);
    if (index === undefined || (phase !== "ready" && (!stale || isEarlier)))
      throw notReady(this.#life, stale ? {} : READ);
    return index;
  }
}

/** A read of a checkpoint may wait for a store that does not answer. */
async function inTime<T>(answer: Promise<T>, limitMs: number = LIMITS.waitMs): Promise<T> {
  const found = await withTimeout(answer, limitMs);
  if (found !== TIMED_OUT) return found;
  throw new CairnError(
    "STORE_UNREACHABLE",
    `The store of the checkpoint has not answered within ${limitMs} ms.`,
    "Make sure that the store can be reached, or wait longer (timeoutMs; over HTTP, timeout).",
  );
}

/** The maximum size of what is returned for an item in addition to its document: names, ids and times (bytes). */
const ITEM_BYTES = 2_048;

/** Returns the maximum size of `items` items in bytes, if no document has more than `largest`. A page may end early. */
function resultBytes(items: number, largest: number): number {
  return Math.min(items * ITEM_BYTES, MAX_PAGE_BYTES) + Math.min(items * largest, MAX_PAGE_BYTES + largest);
}
