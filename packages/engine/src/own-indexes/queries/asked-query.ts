import type { ClientRows } from "@cairn/client";
import type { Deadline } from "@cairn/kv";
import { CairnError } from "@cairn/kv/threads";
import type { IndexQuery, QueryLimits, ServedIndex } from "../own-index.ts";

/** Each part of an answer but the last has at least this size. The node can receive, parse or send it in a few ms. */
export const PART_BYTES = 256 * 1024;

/** Rows as they came from the index, of which no value has been parsed. */
export interface QueryRows extends Omit<ClientRows, "rows"> {
  /** Rows as JSON, separated by commas. Each part has whole rows. */
  readonly rows: readonly string[];
}

export interface QueryRun {
  readonly limits: QueryLimits;
  /** The time limit for waiting and running. */
  readonly time: Deadline;
  readonly signal?: AbortSignal | undefined;
  /** Called if the answer is larger than one part. The rest is read when the returned promise resolves. */
  readonly admit?: (() => Promise<void> | undefined) | undefined;
}

/** A query from when it is asked until it has an answer, of whatever kind. */
export class AskedQuery {
  readonly answer: Promise<QueryRows>;
  readonly query: IndexQuery;
  readonly run: QueryRun;
  /** Returns the index that answers it. Throws if none may. */
  readonly served: () => ServedIndex;
  /** Whether a process has begun it, so that its time limit is that of the process. */
  isRunning = false;
  #isSettled = false;
  #resolve: (rows: QueryRows) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;

  constructor(served: () => ServedIndex, query: IndexQuery, run: QueryRun) {
    this.served = served;
    this.query = query;
    this.run = run;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether nobody waits for its answer any more. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  resolve(rows: QueryRows): void {
    this.#isSettled = true;
    this.#resolve(rows);
  }

  /** Rejects it after it has run for `ranMs`: it may have waited for longer, which is no fault of its own. */
  outOfTime(ranMs: number): void {
    const { limits, time } = this.run;
    const isOwn = ranMs >= limits.timeoutMs || ranMs >= time.limitMs / 2;
    this.reject(isOwn ? tooLong(ranMs) : busy(time.limitMs - ranMs));
  }

  reject(reason: unknown): void {
    this.#isSettled = true;
    this.#reject(reason);
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
    "Make it cheaper: with a condition on an indexed column, or fewer joined rows (explain query plan shows how SQLite carries out a statement). If it had less than 5 s, give it more time.",
  );
}
