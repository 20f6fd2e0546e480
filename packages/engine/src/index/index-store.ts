import {
  type KvOperation,
  type KvPurging,
  type KvReader,
  type KvStats,
  type KvStore,
  Semaphore,
  SharedResults,
  closing,
  TRANSACTION_SLICE,
} from "@cairn/kv";
import type { Chains, ChainValue, DocumentKey, TxId, TxOutcome } from "@cairn/client";
import type { AsOf, DocumentPage, HistoryPage } from "./read/documents.ts";
import { type IndexListQuery, readHistoryPage, readList } from "./read/document-pages.ts";
import type { LogMessage } from "../log/tx-log.ts";
import { AbsentRows } from "./apply/absent-rows.ts";
import { type Applied, applyMessages, type RefusedMessages } from "./apply/apply-transactions.ts";
import { type CommitResult, RecentOutcomes } from "./apply/recent-outcomes.ts";
import { decodeBatches, type IndexedMessage, batchLength } from "./apply/batches.ts";
import type { KnownShards } from "./apply/batch-queues.ts";
import { readSubmission, type Submission } from "./apply/submissions.ts";
import { ChainWindow } from "./chains/chain-window.ts";
import { chainsOf, chainValueAt } from "./chains/chain-values.ts";
import { digestIndex } from "./read/digest.ts";
import { type MaybeDocument, readDocument, readDocumentAsOf } from "./read/document-reads.ts";
import { type EvictionPage, readEvictions } from "./read/eviction-reads.ts";
import { removeEvicted, withoutEvicted } from "./purge/evicted-versions.ts";
import { EvictionPurge, type PurgeReport } from "./purge/eviction-purge.ts";
import { FieldUpkeep } from "./fields/field-builds.ts";
import { readTxOutcome } from "./read/outcome-reads.ts";
import { RecentChanges } from "./read/recent-changes.ts";
import { type IndexState, readState, stateRow } from "./rows/index-state.ts";
import { indexRows } from "./rows/index-rows.ts";
import { unusableIndex } from "./rows/row-checksum.ts";

/** The numbers of messages, committed transactions and operations applied, the messages' size, and the refused ones. */
export interface AppliedCounts {
  readonly transactions: number;
  readonly committed: number;
  readonly operations: number;
  readonly bytes: number;
  readonly refused: RefusedMessages;
}

/** The effects of messages that were computed before the log had stored the messages. */
interface PreparedMessages {
  readonly messages: readonly LogMessage[];
  readonly applied: Applied;
  /** The number of writers admitted so far. If there is another one, the effects may have changed. */
  readonly admissions: number;
}

/** The maximum number of prepared messages: those of many connections. A larger group may be more than one batch. */
const MAX_PREPARED_MESSAGES = 64;
/**
 * The maximum age of the size of the files (ms). Every open page asks for it every few seconds, and measuring it reads
 * the size of every file.
 */
const STATS_MS = 1_000;

/** The index in a key-value store. It applies the log's messages and serves reads. */
export class IndexStore {
  /** The rows, for captures, checks and comparisons with other indexes. They change with every batch. */
  readonly rows: KvStore;
  /** What the newest transactions changed, for watches. */
  readonly changes = new RecentChanges();
  /** Called with the rows of each batch as soon as readers see them, and with the states after and before it. */
  readonly onApplied = new Set<(rows: readonly KvOperation[], now: IndexState, before: IndexState) => void>();
  readonly #stats = new SharedResults<KvStats>(STATS_MS);
  #state: IndexState;
  /** Undefined if the index is only read. */
  readonly #chains: ChainWindow | undefined;
  readonly #fields: FieldUpkeep;
  /** Serializes writers whose writes depend on the contents of the store. */
  readonly #turns = new Semaphore();
  readonly #purge: EvictionPurge;
  readonly #recent = new RecentOutcomes();
  #shards: KnownShards | undefined;
  /** The newest messages that the log has begun to store. */
  #storing: readonly LogMessage[] = [];
  #preparing: Promise<void> | undefined;
  #prepared: PreparedMessages | undefined;
  /** Whether the store may contain versions of evicted keys. */
  #mayHoldEvicted: boolean;
  /** Undefined unless the index was empty when it was opened. */
  readonly #absent: AbsentRows | undefined;
  readonly #applying: KvReader;
  /** Undefined except in tests. */
  readonly #remembered: number | undefined;

  private constructor(
    kv: KvStore,
    state: IndexState,
    chains: ChainWindow | undefined,
    absent?: AbsentRows,
    remembered?: number,
  ) {
    this.rows = kv;
    this.#remembered = remembered;
    this.#absent = absent;
    this.#applying = absent?.reader(kv) ?? kv;
    this.#state = state;
    this.#mayHoldEvicted = state.evicting === true;
    this.#chains = chains;
    this.#fields = new FieldUpkeep(kv);
    this.#purge = new EvictionPurge(kv, this.#turns);
  }

  /**
   * Opens the index in `kv`; `empty` is the state of the log's empty index. Throws `INDEX_VERSION` or `INDEX_CORRUPT`,
   * after closing `kv`. `remembered` is as in {@link applyMessages}.
   */
  static async open(store: KvStore, empty: IndexState, remembered?: number): Promise<IndexStore> {
    const kv = indexRows(store);
    try {
      const stored = await readState(kv);
      const absent = stored === undefined ? new AbsentRows() : undefined;
      const state = stored?.evicting === true ? await removeEvicted(kv, stored) : (stored ?? empty);
      const chains = await ChainWindow.load(kv, state);
      // A log that continues another one may have a different name, which its birth record does not contain.
      const log = state.log.id === empty.log.id ? state.log : { ...state.log, name: empty.log.name };
      return new IndexStore(kv, { ...state, log }, chains, absent, remembered);
    } catch (error) {
      // An open store would prevent another index from replacing this one.
      await kv.close();
      throw error;
    }
  }

  /**
   * Opens an index that is only read, and reads nothing but its state. Every read of it is of a snapshot. Throws as
   * {@link open} does, and `INDEX_CORRUPT` for an empty store, but does not close the store.
   */
  static async openReadOnly(store: KvStore): Promise<IndexStore> {
    const kv = indexRows(store);
    const state = await readState(kv);
    if (state === undefined) throw unusableIndex("it is empty");
    return new IndexStore(kv, state, undefined);
  }

  get state(): IndexState {
    return this.#state;
  }

  /** Whether the index was opened by {@link openReadOnly}. */
  get isReadOnly(): boolean {
    return this.#chains === undefined;
  }

  /**
   * Applies the messages that follow the index, decoding each batch while the previous one is written. Readers see only
   * whole batches, and after an error the index ends with one.
   */
  async apply(messages: readonly LogMessage[]): Promise<AppliedCounts> {
    let committed = 0;
    let operations = 0;
    let refused: RefusedMessages = { count: 0 };
    const count = (applied: Applied): void => {
      committed += applied.committed;
      operations += applied.operations;
      if (applied.refused.count > 0)
        refused = { ...applied.refused, count: refused.count + applied.refused.count };
    };
    let writing = Promise.resolve();
    await this.#preparing;
    await TRANSACTION_SLICE.turn();
    const prepared = this.#prepared;
    this.#prepared = undefined;
    let begin = 0;
    if (prepared?.messages.every((message, at) => message === messages[at]) === true) {
      const done = await this.#turns.acquire();
      if (this.#turns.admissions === prepared.admissions + 1) {
        count(prepared.applied);
        begin = prepared.messages.length;
        writing = this.#write(prepared.applied).finally(done);
      } else done();
    }
    for (const batch of decodeBatches(begin === 0 ? messages : messages.slice(begin))) {
      let rest: readonly IndexedMessage[] = batch;
      while (rest.length > 0) {
        await writing;
        const done = await this.#turns.acquire();
        try {
          const length = await batchLength(rest, this.#state, this.rows);
          const applied = await this.#compute(length === rest.length ? rest : rest.slice(0, length));
          await TRANSACTION_SLICE.turn();
          count(applied);
          rest = rest.slice(applied.messages);
          writing = this.#write(applied).finally(done);
        } catch (error) {
          done();
          throw error;
        }
      }
    }
    await writing;
    this.#prepareNext();
    let bytes = 0;
    for (const { payload } of messages) bytes += payload.length;
    return { transactions: messages.length, committed, operations, bytes, refused };
  }

  /**
   * Computes the effects of messages that the log is still storing, for {@link apply} to write if it gets the same ones
   * next. Nothing else depends on whether they are stored.
   */
  prepare(messages: readonly LogMessage[]): void {
    this.#storing = messages.length > MAX_PREPARED_MESSAGES ? [] : messages;
    this.#prepareNext();
  }

  #prepareNext(): void {
    const [first] = this.#storing;
    // Messages that do not follow the index yet are prepared after those before them have been applied.
    if (first === undefined || first.position + this.#state.log.offset !== this.#state.txId + 1) return;
    if (this.#turns.isFull) return;
    const messages = this.#storing;
    this.#storing = [];
    this.#preparing = this.#prepare(messages);
  }

  async #prepare(messages: readonly LogMessage[]): Promise<void> {
    const done = await this.#turns.acquire();
    try {
      await TRANSACTION_SLICE.turn();
      const { value: batch = [] } = decodeBatches(messages).next();
      const isWhole =
        batch.length === messages.length &&
        (await batchLength(batch, this.#state, this.rows)) === batch.length;
      if (!isWhole) return;
      const { admissions } = this.#turns;
      const applied = await this.#compute(batch);
      if (applied.messages === messages.length) this.#prepared = { messages, applied, admissions };
    } catch {
      // Applying the messages fails for the same reason, and reports it.
    } finally {
      done();
      this.#preparing = undefined;
    }
  }

  async #window(): Promise<ChainWindow> {
    return this.#chains ?? (await ChainWindow.load(this.rows, this.#state));
  }

  /** Computes the effects of a batch. The caller has the turn. */
  async #compute(batch: readonly IndexedMessage[]): Promise<Applied> {
    // The last attempt may have failed.
    if (this.#mayHoldEvicted) await this.#removeEvicted();
    await TRANSACTION_SLICE.turn();
    return await applyMessages(batch, this.#state, this.#applying, {
      chains: this.#chains ?? (await this.#window()),
      shards: this.#shards,
      builds: (await this.#fields.work()).builds,
      remembered: this.#remembered,
      collectsChanges: this.changes.isRead,
    });
  }

  async #write({ rows, state, chains, results, shards, changes }: Applied): Promise<void> {
    const isConfigured = state.policies?.revision !== this.#state.policies?.revision;
    this.#absent?.written(rows);
    if (state.evicting === true) this.#mayHoldEvicted = true;
    await this.rows.batch(rows);
    chains.commit();
    for (const listener of this.onApplied) listener(rows, state, this.#state);
    this.#state = state;
    this.#recent.add(results);
    this.changes.add(changes);
    this.#shards = shards;
    this.#fields.written(isConfigured);
    if (state.evicting === true) await this.#removeEvicted();
  }

  /** Removes the versions that the last batch evicted. The caller has the turn. */
  async #removeEvicted(): Promise<void> {
    if (this.#state.evicting === true) this.#state = await removeEvicted(this.rows, this.#state);
    this.#mayHoldEvicted = false;
  }

  /**
   * Does part of the work for new and removed fields, less if messages wait; returns whether work remains.
   * `onDocuments` gets the number of documents processed since its last call.
   */
  async buildFields(onDocuments: (count: number) => void = () => {}): Promise<boolean> {
    if (this.#fields.isDone) return false;
    const isWanted = (): boolean => this.#turns.isContended;
    await this.#turns.run(() => this.#fields.step(this.#state, { isWanted, onDocuments }));
    return !this.#fields.isDone;
  }

  /** Returns the numbers of the indexed fields that are being built, each with whether the build has begun. */
  async fieldsBeingBuilt(): Promise<ReadonlyMap<number, boolean>> {
    return await this.#turns.run(async () => {
      const { builds } = await this.#fields.work();
      return new Map([...builds].map(([id, built]) => [id, built.length > 0]));
    });
  }

  async fieldsToBuild(signal: AbortSignal): Promise<void> {
    await this.#fields.workArrives(signal);
  }

  /** Calls `onAsOf` before reading, with the transaction as of which the result is valid. */
  get(key: DocumentKey, asOf?: AsOf, onAsOf?: (txId: TxId) => void): MaybeDocument {
    if (asOf === undefined) onAsOf?.(this.#state.txId);
    if (asOf === undefined && !this.isReadOnly) return readDocument(this.rows, key);
    return this.read(async (reader) => {
      if (asOf === undefined) return await readDocument(reader, key);
      return await readDocumentAsOf(reader, key, asOf, onAsOf);
    });
  }

  readonly list = async (query: IndexListQuery): Promise<DocumentPage> => await this.ask(readList, query);

  async history(key: DocumentKey, limit: number, cursor?: string): Promise<HistoryPage> {
    return await this.ask(readHistoryPage, key, limit, cursor);
  }

  /** Returns the result of a commit, from memory for the newest transactions. */
  async commitResult(txId: TxId): Promise<CommitResult | undefined> {
    const recent = this.#recent.get(txId);
    if (recent !== undefined) return recent;
    const outcome = await this.outcome(txId);
    return outcome && { outcome, replaced: undefined };
  }

  /** The CRC-32 of a transaction's message; undefined if the transaction is not in the index or too old. */
  checksumAt(txId: TxId): number | undefined {
    return this.#chains?.checksumAt(txId);
  }

  async outcome(txId: TxId): Promise<TxOutcome | undefined> {
    return await this.read(async (reader) => await readTxOutcome(reader, txId));
  }

  /** Returns the record of an idempotency id; undefined if no remembered transaction used it. */
  async ownerOf(id: string): Promise<Submission | undefined> {
    return await readSubmission(this.rows, id);
  }

  /** Undefined for an empty index. With `at`, the digest as of then; throws `CONFLICT` if the history begins later. */
  async digest(at?: TxId): Promise<{ txId: TxId; digest: string } | undefined> {
    return await this.read(async (reader) => await digestIndex(reader, at));
  }

  /** Notes that the log cannot show the history up to the last transaction (`unshown` of the state). */
  async noteUnshown(): Promise<void> {
    await this.#turns.run(async () => {
      const state = { ...this.#state, unshown: this.#state.txId };
      await this.rows.batch([stateRow(state)]);
      this.#state = state;
    });
  }

  /** Undefined if the transaction has not been applied yet, or if it is old and not a link. */
  async chainsAt(txId: TxId): Promise<ChainValue | undefined> {
    return await chainValueAt(this.rows, await this.#window(), txId);
  }

  async chains(others: readonly TxId[] = []): Promise<Chains> {
    return await chainsOf(this.rows, await this.#window(), others);
  }

  /** Runs one of the reads that need the state of the index, on a snapshot. */
  async ask<T, Given extends readonly unknown[]>(
    read: (reader: KvReader, state: IndexState, ...given: Given) => Promise<T>,
    ...given: Given
  ): Promise<T> {
    return await this.read(
      async (reader) => await read(reader, (await readState(reader)) ?? this.#state, ...given),
    );
  }

  async evictions(limit: number, cursor?: string): Promise<EvictionPage> {
    const { held } = this.#purge;
    return await this.ask(readEvictions, { limit, cursor, held });
  }

  async purgeEvictions(options: Pick<KvPurging, "withinMs" | "signal">): Promise<PurgeReport> {
    return await this.#purge.run(options, () => this.#state);
  }

  /** Returns the size of the files, and whether they are still there. Both are at most {@link STATS_MS} old. */
  async stats(): Promise<KvStats> {
    return await this.#stats.get("", async () => await this.rows.stats());
  }

  async close(): Promise<void> {
    await this.#preparing;
    await this.rows.close();
  }

  async read<T>(read: (reader: KvReader) => Promise<T>): Promise<T> {
    return await closing(
      this.rows.snapshot(),
      async (snapshot) => await read(this.#mayHoldEvicted ? await withoutEvicted(snapshot) : snapshot),
    );
  }
}
