import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { TxId } from "@cairn/client";
import { type CancelTimer, CairnError, errorMessage, explainedError, startTimer } from "@cairn/kv";
import { receiveError, ThreadModule } from "@cairn/kv/threads";
import { parsePosition } from "@cairn/text";
import type { Logger } from "pino";
import type { AskedQuery, QueryRows } from "./asked-query.ts";
import type { ServedIndex } from "../own-index.ts";
import { wrongPosition } from "../own-index-errors.ts";
import type {
  QueryAnswered,
  QueryMessage,
  QueryMessageOfNode,
  QuerySkipped,
} from "./query-process-worker.ts";

/** A process starts in a fifth of a second, unless something is wrong with the machine. */
const START_MS = 30_000;
/** If a query takes longer, other processes answer those that were sent after it (ms). */
const SLOW_MS = 50;
/** From then on, others need not wait until it has ended (ms). */
const LONG_MS = 500;
/** So many queries are sent to a process that answers each of them in less than {@link QUICK_MS}. */
const MAX_SENT = 8;
const QUICK_MS = 5;
/** An answer has at most 8 MiB of JSON, of which the values take a few times as much. */
const HEAP_MIB = 256;
/** How much of what a process wrote before it ended is logged (characters). */
const LAST_WORDS = 4_096;

/** What modules may need. Tokens, and the keys of stores, are in the environments of nodes as well. */
const ENVIRONMENT = ["PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SystemRoot", "LANG", "LC_ALL", "TZ"];

const ANSWERING = new ThreadModule(import.meta.url, "query-process-worker");

/**
 * A process that answers queries of one index, whose module may have spoilt it for others, in the order in which they are
 * sent. It is killed if it takes long for a query for which nobody waits any more, also because its time is over.
 */
export class QueryProcess {
  readonly #index: ServedIndex["context"];
  readonly ended: Promise<void>;
  readonly #logger: Pick<Logger, "warn">;
  readonly #child: ChildProcess;
  /** Called with queries that another process has to answer, and when this one can take more. */
  readonly #onFree: (others: readonly AskedQuery[]) => void;
  /** The first is running. Those that another process has to answer are undefined. */
  #sent: (AskedQuery | undefined)[] = [];
  #state: "open" | "retiring" | "killed" = "open";
  /** The time of a query does not include the start of the process. */
  #isStarted = false;
  #begunAt = 0;
  #limitMs = Infinity;
  #cancel: CancelTimer = () => undefined;
  /** Whether the last query took little time. */
  #isQuick = false;
  #lastWords = "";
  #parts: string[] = [];

  constructor(
    served: ServedIndex,
    logger: Pick<Logger, "warn">,
    onFree: (others: readonly AskedQuery[]) => void,
  ) {
    this.#index = served.context;
    this.#logger = logger;
    this.#onFree = onFree;
    const { env } = process;
    const known = ENVIRONMENT.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]));
    this.#child = fork(ANSWERING.path, [String(process.pid)], {
      env: Object.fromEntries(known) as NodeJS.ProcessEnv,
      execArgv: [`--max-old-space-size=${HEAP_MIB}`],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.on("data", (text: Buffer) => {
      this.#lastWords = `${this.#lastWords}${text.toString()}`.slice(-LAST_WORDS);
    });
    this.#child.on("message", (message: QueryMessage) => {
      if ("started" in message) this.#start();
      else if ("notice" in message) logger.warn({ dir: this.dir }, message.notice);
      else if ("part" in message) this.#receivePart(message.part);
      else this.#answered(message);
    });
    this.#send({ index: served });
    this.#cancel = startTimer(START_MS, () => this.kill(), { background: true });
    this.ended = this.#end();
  }

  get dir(): string {
    return this.#index.dir;
  }

  get isKilled(): boolean {
    return this.#state === "killed";
  }

  get isIdle(): boolean {
    return this.#state === "open" && this.#sent.length === 0;
  }

  /** Whether its query has run for so long that others need not wait for it. */
  get isLong(): boolean {
    return this.#sent.length > 0 && this.#runningMs >= LONG_MS;
  }

  /** How many queries it has to answer; infinite if it must not get more. */
  get load(): number {
    const isFull = this.#state !== "open" || !this.#isQuick || this.#sent.length >= MAX_SENT;
    return isFull || this.#runningMs >= SLOW_MS ? Infinity : this.#sent.length;
  }

  send(asked: AskedQuery): void {
    const { query, run } = asked;
    this.#sent.push(asked);
    if (this.#sent.length === 1) this.#begin(asked);
    this.#send({ query, limits: run.limits });
  }

  /** If nothing can be sent, the process has ended. */
  #send(message: QueryMessageOfNode): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /** Ends the process once it has answered. */
  async retire(): Promise<void> {
    if (this.#sent.length === 0) this.kill();
    else if (this.#state === "open") this.#state = "retiring";
    await this.ended;
  }

  /** Ends the process if nobody waits for its query any more, unless that will soon have an answer. */
  killIfAbandoned(): void {
    const [asked] = this.#sent;
    if (this.#sent.length > 0 && asked?.isSettled !== false && this.#runningMs >= SLOW_MS) this.kill();
  }

  kill(): void {
    this.#state = "killed";
    this.#cancel();
    this.#child.kill("SIGKILL");
  }

  #start(): void {
    this.#cancel();
    this.#isStarted = true;
    if (this.#sent.length > 0) this.#begin(this.#sent[0]);
  }

  #begin(asked: AskedQuery | undefined): void {
    this.#parts = [];
    this.#begunAt = performance.now();
    if (!this.#isStarted) return;
    const { limits, time } = asked?.run ?? {};
    this.#limitMs = Math.min(limits?.timeoutMs ?? Infinity, time?.leftMs ?? Infinity);
    if (asked !== undefined) asked.isRunning = true;
    this.#watch();
  }

  #watch(): void {
    const forMs = this.#runningMs;
    if (forMs >= this.#limitMs) this.#sent[0]?.outOfTime(this.#limitMs);
    if (forMs >= SLOW_MS) {
      this.killIfAbandoned();
      this.#onFree(this.#takeBack());
      if (this.isKilled) return;
    }
    const nextMs = Math.min(...[SLOW_MS, LONG_MS, this.#limitMs].filter((at) => at > forMs));
    this.#cancel = startTimer(nextMs - forMs, () => {
      // If this process had to wait for a processor, the answer may have come meanwhile.
      const looking = setImmediate(() => this.#watch());
      this.#cancel = () => clearImmediate(looking);
    });
  }

  get #runningMs(): number {
    return this.#isStarted ? performance.now() - this.#begunAt : 0;
  }

  /** Returns the queries that have not begun, which others will answer. */
  #takeBack(): readonly AskedQuery[] {
    const [running, ...others] = this.#sent;
    if (others.length > 0) this.#send({ withdrawn: others.length });
    this.#sent = [running, ...others.map(() => undefined)];
    return others.filter((other) => other !== undefined);
  }

  #receivePart(part: string): void {
    this.#parts.push(part);
    if (this.#parts.length === 1) void this.#admit(this.#sent[0]);
  }

  /** Has the process go on with an answer once there is memory for it. */
  async #admit(asked: AskedQuery | undefined): Promise<void> {
    try {
      const admission = asked?.run.admit?.();
      if (admission !== undefined) {
        // Its time is that of the process, which waits.
        const ranMs = this.#runningMs;
        this.#cancel();
        this.#onFree(this.#takeBack());
        await admission;
        if (this.isKilled) return;
        this.#begunAt = performance.now() - ranMs;
        this.#watch();
      }
      this.#send({ admitted: true });
    } catch (error) {
      asked?.reject(error);
      this.kill();
    }
  }

  #answered(answer: QueryAnswered | QuerySkipped): void {
    this.#cancel();
    const asked = this.#sent.shift();
    this.#isQuick = this.#runningMs < QUICK_MS;
    if (asked !== undefined && !("skipped" in answer)) {
      try {
        asked.resolve(rowsOf(this.#index.name, answer, this.#parts));
      } catch (error) {
        asked.reject(error);
      }
      asked.isRunning = false;
    }
    if (this.#sent.length > 0) this.#begin(this.#sent[0]);
    else if (this.#state !== "open") this.kill();
    this.#onFree([]);
  }

  async #end(): Promise<void> {
    // After its end, nothing else listens for errors.
    this.#child.on("error", () => undefined);
    let failure: CairnError;
    try {
      const [code, signal] = (await once(this.#child, "close")) as [number | null, string | null];
      const how = signal ?? `exit code ${code}`;
      if (this.#state !== "killed")
        this.#logger.warn(
          { dir: this.dir, how, stderr: this.#lastWords },
          "A process for queries ended by itself.",
        );
      failure = endedEarly(how);
    } catch (error) {
      failure = explainedError(error, "A process for queries", "A process for queries failed");
    }
    this.#state = "killed";
    this.#cancel();
    this.#sent[0]?.reject(failure);
    const others = this.#takeBack();
    this.#sent = [];
    // This one is no longer counted by then.
    void Promise.resolve().then(() => this.#onFree(others));
  }
}

function rowsOf(name: string, answer: QueryAnswered, parts: readonly string[]): QueryRows {
  if (!("failed" in answer)) {
    const { position, columns, rows: last, more } = answer;
    const rows = last === "" ? parts : [...parts, last];
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

function positionOf(name: string, position: unknown): TxId {
  try {
    return parsePosition(String(position), "The position of its answer").txId;
  } catch (error) {
    throw wrongPosition(name, errorMessage(error), error);
  }
}

function endedEarly(how: string): CairnError {
  return new CairnError(
    "QUERY_LIMIT",
    `The process of the query ended (${how}), as it does if a query needs more memory than it may have.`,
    "Select fewer columns, or fewer rows. If a small query ends like this, too, the module of the index is faulty: the node's log contains what the process wrote before it ended.",
  );
}
