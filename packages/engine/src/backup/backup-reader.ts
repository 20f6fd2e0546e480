import type { CheckpointStore } from "@cairn/checkpoint";
import { type Clock, systemClock, unlessAborted, CairnError, isCairnError } from "@cairn/kv";
import type { LogBackupSource, LogBounds, LogMessage, LogReadOptions, TxLog } from "../log/tx-log.ts";
import { inLogTerms, readOnly } from "./backup-errors.ts";
import { BackupLog } from "./backup-log.ts";
import { EarlierLogs } from "./earlier-logs.ts";
import { type Lineage, newestLog, readLineage, successorOf } from "./backup-lineage.ts";

export interface BackupReaderOptions {
  readonly store: CheckpointStore;
  /** The log to read. Defaults to the newest one in the store and, later, to any log that replaces it. */
  readonly logId?: string;
  /** How often the store is looked at (ms). While there is nothing new, a log that replaces this one is searched for. */
  readonly every: number;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}

/**
 * The log of a node that reaches only its backup: read-only, and closed with the store. While the store has no backup,
 * every call throws `LOG_UNREACHABLE`, because one may still appear.
 */
export class BackupReader implements TxLog {
  /** Unlimited, because `append` rejects every message anyway. */
  readonly maxPayload = Number.MAX_SAFE_INTEGER;
  readonly earlier: EarlierLogs;
  readonly #options: BackupReaderOptions;
  readonly #closed = new AbortController();
  /** Aborted when the log is closed or the node stops, whichever comes first. */
  readonly #stopped: AbortSignal;
  #lineage: Lineage = new Map();
  #log: BackupLog | undefined;
  #logId: string | undefined;
  /** The log that replaces the current one at the next call of {@link exists}, which is the first step of joining. */
  #next: string | undefined;

  constructor(options: BackupReaderOptions) {
    this.#options = options;
    const signals = options.signal === undefined ? [] : [options.signal];
    this.#stopped = AbortSignal.any([this.#closed.signal, ...signals]);
    this.earlier = new EarlierLogs([options.store]);
    this.#logId = options.logId;
  }

  get name(): string {
    return this.#log?.name ?? "log-backup";
  }

  get location(): string {
    return this.#options.store.location;
  }

  get backup(): LogBackupSource {
    const { store } = this.#options;
    return { location: this.location, newestAt: this.#log?.newestAt, store };
  }

  async id(): Promise<string | undefined> {
    return await this.#ask((log) => log.id());
  }

  async exists(): Promise<boolean> {
    if (this.#next !== undefined) {
      await this.#log?.close();
      this.#log = undefined;
      this.#logId = this.#next;
      this.#next = undefined;
    }
    if (await this.#ask((log) => log.exists())) return true;
    throw this.#absent();
  }

  create(): Promise<void> {
    return Promise.reject(this.#absent());
  }

  append(): Promise<never> {
    return Promise.reject(readOnly(this.#options.store.location));
  }

  async bounds(): Promise<LogBounds> {
    return await this.#ask((log) => log.bounds());
  }

  /** To the reader, the backup begins after its last hole: an index cannot be continued across one. */
  async fetch(position: number): Promise<LogMessage | undefined> {
    return await this.#ask(async (log) => {
      const { first } = await log.bounds();
      return position < first ? undefined : await log.fetch(position);
    });
  }

  async before(position: number): Promise<string | undefined> {
    return await this.#ask((log) => log.before(position));
  }

  async contents(): Promise<string> {
    return await this.#ask((log) => log.contents());
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    const log = await this.#current();
    const stop = new AbortController();
    const signal = AbortSignal.any([options.signal, stop.signal, this.#stopped]);
    const searching = this.#searchNext(stop, signal);
    const reading = log.read(from, { ...options, signal });
    try {
      for (;;) {
        const { value, done } = await unlessAborted(reading.next(), signal);
        if (done === true) break;
        yield value;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
      // The call is not awaited, because the iterator may be waiting for a store that does not respond.
      reading.return().catch(() => undefined);
      await searching;
    }
    if (this.#next === undefined || options.signal.aborted) return;
    const message = `The log "${log.name}" was recovered: the log ${this.#next} replaces it.`;
    throw new CairnError("LOG_DIFFERENT", message, "Do nothing: the node continues with that log.");
  }

  inspect(): Promise<readonly CairnError[]> {
    const { store, logId } = this.#options;
    const next = this.#log?.view.replacedBy;
    if (logId === undefined || next === undefined) return Promise.resolve([]);
    const message = `The log ${next} in ${store.location} replaces the log ${logId} that this node reads.`;
    const hint = `Remove log-id from the configuration, or set it to ${next}, and restart the node.`;
    return Promise.resolve([new CairnError("LOG_DIFFERENT", message, hint)]);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#log?.close();
    await this.#options.store.close();
  }

  /** Stops waiting when the node stops: the timeout for an unresponsive store is several minutes. */
  async #ask<T>(question: (log: BackupLog) => Promise<T>): Promise<T> {
    return await unlessAborted(this.#current().then(question), this.#stopped);
  }

  async #current(): Promise<BackupLog> {
    if (this.#log !== undefined) return this.#log;
    const { store, logId } = this.#options;
    if (this.#logId === undefined) {
      this.#lineage = await inLogTerms(readLineage(store, this.#lineage));
      this.#logId = newestLog(this.#lineage, store.location);
    }
    if (this.#logId === undefined || this.#closed.signal.aborted) throw this.#absent();
    this.#log ??= new BackupLog({ ...this.#options, logId: this.#logId, isOfAllLogs: logId === undefined });
    return this.#log;
  }

  /** Waits until another log has replaced the current one, and then aborts `reading`. */
  async #searchNext(reading: AbortController, signal: AbortSignal): Promise<void> {
    const { store, logId, every, clock = systemClock } = this.#options;
    const current = this.#logId;
    if (logId !== undefined || current === undefined) return;
    let searched: readonly string[] | undefined;
    while (await clock.wait(every, signal)) {
      // The pointer of a log that was replaced says so, upon which its backup is listed, with those of all logs.
      const logs = this.#log?.view.logs;
      if (logs === searched) continue;
      try {
        this.#lineage = await unlessAborted(readLineage(store, this.#lineage, logs), signal);
        this.#next = successorOf(this.#lineage, current);
        searched = logs;
      } catch (error) {
        if (signal.aborted) return;
        // The reader reports an unreachable store. Without an answer, the current log continues to be read.
        if (!isCairnError(error)) throw error;
      }
      if (this.#next !== undefined) reading.abort();
    }
  }

  #absent(): CairnError {
    const { location } = this.#options.store;
    const which = this.#logId === undefined ? "a log" : `the log ${this.#logId}`;
    return new CairnError(
      "LOG_UNREACHABLE",
      `There is no backup of ${which} in ${location} yet.`,
      'Nodes with "log-backup" in their checkpointer write it. Check that such a node is running, and that it uses the same store as this node.',
    );
  }
}
