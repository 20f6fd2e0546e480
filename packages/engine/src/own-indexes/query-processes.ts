import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { TxId } from "@cairn/client";
import {
  CairnError,
  type Deadline,
  errorMessage,
  explainedError,
  Semaphore,
  startTimer,
  TIMED_OUT,
  unlessAborted,
  withTimeout,
} from "@cairn/kv";
import { receiveError, ThreadModule } from "@cairn/kv/threads";
import { parsePosition } from "@cairn/text";
import type { Logger } from "pino";
import type { IndexQuery, QueryLimits, ServedIndex } from "./own-index.ts";
import type { QueryAnswered, QueryMessage, QueryOrder } from "./query-process-worker.ts";

/** So many queries run at a time. More would take processor time from the node itself. */
const MAX_SHORT = 2;
/** So many more run beside them once they have run for {@link SHORT_MS}: others need not wait until they are ended. */
const MAX_LONG = 2;
const SHORT_MS = 500;
/** An answer has at most 8 MiB of JSON, of which the values take a few times as much. */
const HEAP_MIB = 256;
/** How much of what a process wrote before it ended is logged (characters). */
const LAST_WORDS = 4_096;
/** The system ends a killed process at once, unless it waits for a disk. */
const END_MS = 2_000;

/** What modules may need. Tokens, and the keys of stores, are in the environments of nodes as well. */
const ENVIRONMENT = ["PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SystemRoot", "LANG", "LC_ALL", "TZ"];

const ANSWERING = new ThreadModule(import.meta.url, "query-process-worker");

/** Rows as they came from the index, of which no value has been parsed. */
export interface QueryRows {
  readonly txId: TxId;
  readonly columns: readonly string[];
  /** Rows as JSON, separated by commas. Each part has whole rows. */
  readonly rows: readonly Buffer[];
  readonly more: boolean;
}

export interface QueryRun {
  readonly limits: QueryLimits;
  /** The time limit for waiting and running. */
  readonly time: Deadline;
  readonly signal?: AbortSignal | undefined;
  /** Called when it is the query's turn, which begins when the returned promise resolves. */
  readonly admit?: (() => Promise<void> | undefined) | undefined;
}

/**
 * The processes that answer queries of own indexes. Nothing can interrupt a running statement of SQLite, or any other
 * code of a module, except the end of its process: a query that exceeds its limits, or is aborted, costs its process
 * alone. Queries wait in the order in which they came.
 */
export class QueryProcesses {
  readonly #logger: Pick<Logger, "warn">;
  readonly #turns = new Semaphore(MAX_SHORT);
  #long = 0;
  readonly #processes = new Set<QueryProcess>();
  readonly #queries = new Set<AbortController>();
  #closed: CairnError | undefined;

  constructor(logger: Pick<Logger, "warn">) {
    this.#logger = logger;
  }

  /**
   * Runs a query of the index that `served` returns when it is its turn. Throws `OVERLOADED` if that takes longer than
   * the time limit, `QUERY_LIMIT`, errors with which modules refuse queries, and `OWN_INDEX_FAILED` for all others.
   */
  async run(served: () => ServedIndex, query: IndexQuery, run: QueryRun): Promise<QueryRows> {
    const { limits, time, signal, admit } = run;
    signal?.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed;
    const ending = new AbortController();
    const waitMs = time.leftMs;
    const onAbort = (): void => ending.abort(signal?.reason);
    const cancel = startTimer(waitMs, () => ending.abort(busy(waitMs)));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#queries.add(ending);
    try {
      const endTurn = await unlessAborted(this.#turns.acquire(), ending.signal, (late) => late());
      cancel();
      let release = endTurn;
      const cancelShort = startTimer(SHORT_MS, () => {
        if (this.#long === MAX_LONG) return;
        this.#long += 1;
        release = () => (this.#long -= 1);
        endTurn();
      });
      try {
        await unlessAborted(admit?.() ?? Promise.resolve(), ending.signal);
        // From here on, `release` knows that the folder is in use.
        const index = served();
        const process = this.#processFor(index.context.dir);
        const timeoutMs = Math.min(limits.timeoutMs, time.leftMs);
        return await process.answer({ served: index, query, limits }, timeoutMs, ending.signal);
      } finally {
        cancelShort();
        release();
      }
    } finally {
      cancel();
      signal?.removeEventListener("abort", onAbort);
      this.#queries.delete(ending);
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
    for (const query of this.#queries) query.abort(reason);
    await withTimeout(Promise.all([...this.#processes].map((process) => process.retire())), END_MS);
  }

  /** There are never more queries than processes, so one is idle or can be started. */
  #processFor(dir: string): QueryProcess {
    const idle = [...this.#processes].filter((process) => process.isIdle);
    const same = idle.find((process) => process.dir === dir);
    if (same !== undefined) return same;
    if (idle[0] !== undefined && this.#processes.size >= MAX_SHORT + MAX_LONG) return idle[0];
    const started = new QueryProcess(this.#logger);
    this.#processes.add(started);
    void started.ended.then(() => this.#processes.delete(started));
    return started;
  }
}

class QueryProcess {
  /** The folder of the index that it has open, or opens. */
  dir: string | undefined;
  /** Resolves with what a query is told that the process was carrying out when it ended. */
  readonly ended: Promise<CairnError>;
  readonly #child: ChildProcess;
  #state: "idle" | "busy" | "retiring" | "killed" = "idle";
  #lastWords = "";
  #parts: Buffer[] = [];
  #onAnswer: (answer: QueryAnswered) => void = () => undefined;

  constructor(logger: Pick<Logger, "warn">) {
    const { env } = process;
    const known = ENVIRONMENT.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]));
    this.#child = fork(ANSWERING.path, [String(process.pid)], {
      env: Object.fromEntries(known) as NodeJS.ProcessEnv,
      execArgv: [`--max-old-space-size=${HEAP_MIB}`],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.on("data", (text: Buffer) => {
      this.#lastWords = `${this.#lastWords}${text.toString()}`.slice(-LAST_WORDS);
    });
    this.#child.on("message", (message: QueryMessage) => {
      if ("notice" in message) logger.warn({ dir: this.dir }, message.notice);
      else if ("part" in message) this.#parts.push(message.part);
      else this.#onAnswer(message);
    });
    this.ended = this.#end(logger);
  }

  get isIdle(): boolean {
    return this.#state === "idle";
  }

  /** Returns the answer. If there is none in time, or once `signal` is aborted, the process is killed. */
  async answer(order: QueryOrder, timeoutMs: number, signal: AbortSignal): Promise<QueryRows> {
    const { name, dir } = order.served.context;
    this.#state = "busy";
    this.dir = dir;
    this.#parts = [];
    const answered = new Promise<QueryAnswered>((resolve) => {
      this.#onAnswer = resolve;
    });
    // If nothing can be sent, the process has ended.
    if (this.#child.connected) this.#child.send(order, () => undefined);
    try {
      const either = unlessAborted(Promise.race([answered, this.ended]), signal);
      const answer = await withTimeout(either, timeoutMs);
      if (answer === TIMED_OUT) throw tooLong(timeoutMs);
      if (answer instanceof CairnError) throw answer;
      if (this.#state === "busy") this.#state = "idle";
      return rowsOf(name, answer, this.#parts);
    } finally {
      if (!this.isIdle) this.#kill();
    }
  }

  /** Ends the process once it has answered. */
  async retire(): Promise<void> {
    if (this.#state === "idle") this.#kill();
    else if (this.#state === "busy") this.#state = "retiring";
    await this.ended;
  }

  #kill(): void {
    this.#state = "killed";
    this.#child.kill("SIGKILL");
  }

  async #end(logger: Pick<Logger, "warn">): Promise<CairnError> {
    // After its end, nothing else listens for errors.
    this.#child.on("error", () => undefined);
    try {
      const [code, signal] = (await once(this.#child, "close")) as [number | null, string | null];
      const how = signal ?? `exit code ${code}`;
      if (this.#state !== "killed")
        logger.warn(
          { dir: this.dir, how, stderr: this.#lastWords },
          "A process for queries ended by itself.",
        );
      return endedEarly(how);
    } catch (error) {
      return explainedError(error, "A process for queries", "A process for queries failed");
    } finally {
      this.#state = "killed";
    }
  }
}

function rowsOf(name: string, answer: QueryAnswered, parts: readonly Buffer[]): QueryRows {
  if (!("failed" in answer)) {
    const { position, columns, rows: last, more } = answer;
    const rows = last.length === 0 ? parts : [...parts, last];
    return { txId: positionOf(name, position), columns, rows, more };
  }
  const { failed, opening } = answer;
  const cause = receiveError(failed);
  if (failed.cairn !== undefined && !opening) throw cause;
  const what = opening ? "cannot be opened for queries" : "could not answer";
  throw new CairnError("OWN_INDEX_FAILED", `The index ${name} ${what}: ${failed.message}.`, {
    hint: "Send the query again. If it fails again, correct the module of the index, or build the index anew by raising its version.",
    cause,
  });
}

function positionOf(name: string, position: string): TxId {
  try {
    return parsePosition(position, "The position of its answer").txId;
  } catch (error) {
    throw new CairnError("OWN_INDEX_FAILED", `The index ${name} could not answer: ${errorMessage(error)}`, {
      hint: "Correct the module of the index: an answer has the position that the last complete batch had.",
      cause: error,
    });
  }
}

function busy(waitMs: number): CairnError {
  return new CairnError(
    "OVERLOADED",
    `The node's processes for queries were busy with others for ${waitMs} ms.`,
    "Send the query again, or to another node.",
  );
}

function tooLong(timeoutMs: number): CairnError {
  return new CairnError(
    "QUERY_LIMIT",
    `The query did not end within ${timeoutMs} ms, and was stopped.`,
    "Make it cheaper: with a condition on an indexed column, or fewer joined rows (explain query plan shows how SQLite carries out a statement).",
  );
}

function endedEarly(how: string): CairnError {
  return new CairnError(
    "QUERY_LIMIT",
    `The process of the query ended (${how}), as it does if a query needs more memory than it may have.`,
    "Select fewer columns, or fewer rows. If a small query ends like this, too, the module of the index is faulty: the node's log contains what the process wrote before it ended.",
  );
}
