import { setMaxListeners } from "node:events";
import { type CairnError, startTimer, withTimeout } from "@cairn/kv";
import type { Logger } from "pino";
import { AskedQuery, type QueryRows, type QueryRun } from "./asked-query.ts";
import type { IndexQuery, ServedIndex } from "../own-index.ts";
import { QueryProcess } from "./query-process.ts";

/** So many processes run queries at a time. More would take processor time from the node itself. */
const MAX_SHORT = 2;
/** So many more run beside them whose queries take long: others need not wait until they are ended. */
const MAX_LONG = 2;
/** So many processes are kept, which are idle until queries of their index come. */
const MAX_OPEN = 8;
/** The system ends a killed process at once, unless it waits for a disk. */
const END_MS = 2_000;

/**
 * The processes that answer queries of own indexes. Nothing can interrupt a running statement of SQLite, or any other
 * code of a module, except the end of its process: a query that exceeds its limits, or is aborted, costs its process
 * alone. Queries wait in the order in which they came. Since sending a query takes longer than most of them run, a
 * process that is quick gets several at once, which others answer if it turns out not to be.
 */
export class QueryProcesses {
  readonly #logger: Pick<Logger, "warn">;
  readonly #processes = new Set<QueryProcess>();
  readonly #unanswered = new Set<AskedQuery>();
  #waiting: AskedQuery[] = [];
  #closed: CairnError | undefined;

  constructor(logger: Pick<Logger, "warn">) {
    this.#logger = logger;
  }

  /**
   * Runs a query of the index that `served` returns when it is its turn. Throws `OVERLOADED` if that takes longer than
   * the time limit, `QUERY_LIMIT`, errors with which modules refuse queries, and `OWN_INDEX_FAILED` for all others.
   */
  async run(served: () => ServedIndex, query: IndexQuery, run: QueryRun): Promise<QueryRows> {
    const { time, signal } = run;
    signal?.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed;
    const asked = new AskedQuery(served, query, run);
    const cancel = startTimer(time.leftMs, () => {
      if (!asked.isRunning) asked.outOfTime(0);
    });
    const onAbort = (): void => {
      asked.reject(signal?.reason);
      for (const process of this.#processes) process.killIfAbandoned();
    };
    // Many queries may have the same signal, about which Node would warn.
    if (signal !== undefined) setMaxListeners(0, signal);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#unanswered.add(asked);
    this.#waiting.push(asked);
    this.#sendNext();
    try {
      return await asked.answer;
    } finally {
      cancel();
      signal?.removeEventListener("abort", onAbort);
      this.#unanswered.delete(asked);
    }
  }

  /**
   * Resolves once no process has files in the folder open. Before the files are replaced or removed, the index must no
   * longer be served, and this must be called: a process would go on answering from the removed files.
   */
  async release(dir: string): Promise<void> {
    const using = [...this.#processes].filter((process) => process.dir === dir);
    await Promise.all(using.map((process) => process.retire()));
  }

  /** All queries, also later ones, fail with `reason`. */
  async close(reason: CairnError): Promise<void> {
    this.#closed ??= reason;
    for (const query of this.#unanswered) query.reject(reason);
    const ended = [...this.#processes].map(async (process) => {
      process.kill();
      await process.ended;
    });
    await withTimeout(Promise.all(ended), END_MS);
  }

  /** Sends queries that wait, as long as there is a process for the first one. */
  #sendNext(): void {
    for (let asked = this.#waiting[0]; asked !== undefined; asked = this.#waiting[0]) {
      if (!asked.isSettled && !this.#send(asked)) return;
      this.#waiting.shift();
    }
  }

  /** Returns false if there is no process for the query. */
  #send(asked: AskedQuery): boolean {
    try {
      const served = asked.served();
      const process = this.#processFor(served);
      process?.send(asked);
      return process !== undefined;
    } catch (error) {
      asked.reject(error);
      return true;
    }
  }

  #processFor(served: ServedIndex): QueryProcess | undefined {
    const { dir } = served.context;
    const open = [...this.#processes].filter((process) => !process.isKilled);
    const idle = open.filter((process) => process.isIdle);
    const running = open.length - idle.length;
    const long = open.filter((process) => process.isLong).length;
    if (running < MAX_SHORT + Math.min(long, MAX_LONG)) {
      const same = idle.find((process) => process.dir === dir);
      if (same !== undefined) return same;
      if (open.length >= MAX_OPEN) idle[0]?.kill();
      return this.#start(served);
    }
    const [least] = open
      .filter((process) => process.dir === dir && !process.isIdle)
      .toSorted((a, b) => a.load - b.load);
    return least !== undefined && least.load < Infinity ? least : undefined;
  }

  #start(served: ServedIndex): QueryProcess {
    const started = new QueryProcess(served, this.#logger, (others) => {
      this.#waiting.unshift(...others);
      this.#sendNext();
    });
    this.#processes.add(started);
    void started.ended.then(() => this.#processes.delete(started));
    return started;
  }
}
