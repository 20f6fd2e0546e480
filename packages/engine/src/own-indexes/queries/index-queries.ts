import type { ClientRows, Json, QueryArguments, TxId } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import { CairnError, Deadline, isCairnError, TimeSlice, unlessAborted } from "@cairn/kv";
import { badValue, isMap } from "@cairn/text";
import type { IndexQuery, QueryLimits, ServedIndex } from "../own-index.ts";
import { wrongPosition } from "../own-index-errors.ts";
import type { KeptIndex } from "../kept-index.ts";
import type { QueryRows } from "./asked-query.ts";
import type { QueryProcesses } from "./query-processes.ts";

export interface IndexQueryOptions {
  /** The query waits until the index contains this transaction. By default, it does not wait. */
  readonly minTx?: TxId;
  /** The time limit for everything: that wait, the wait for a process, and the query itself (ms). Defaults to 30,000. */
  readonly timeoutMs?: number;
  /** By default, a query runs for 5,000 ms at most, and returns at most 10,000 rows and 8 MiB of JSON. */
  readonly limits?: Partial<QueryLimits>;
  readonly signal?: AbortSignal | undefined;
  /** As of other reads. It is called when it is the query's turn. */
  readonly admit?: (bytes: number, timeoutMs?: number) => Promise<void> | undefined;
}

const DEFAULT_LIMITS: QueryLimits = {
  timeoutMs: LIMITS.queryMs,
  rows: LIMITS.queryRows,
  bytes: LIMITS.queryBytes,
};

/** Returns a query as requests and clients contain it. Throws `REQUEST_INVALID`. */
export function checkedQuery(asked: unknown): {
  readonly query: IndexQuery;
  readonly limits: Partial<QueryLimits>;
} {
  const { sql, args = [], limit, ...others } = isMap(asked) ? asked : { other: asked };
  if (
    typeof sql === "string" &&
    (Array.isArray(args) || isMap(args)) &&
    (limit === undefined || isRowLimit(limit)) &&
    Object.keys(others).length === 0
  )
    return {
      query: { text: sql, args: args as QueryArguments },
      limits: limit === undefined ? {} : { rows: limit },
    };
  throw badValue(
    "Not a valid query: it has another form.",
    `A query is {"sql": statement, "args": [value, …], "limit": count}. "args" may also be an object, "limit" is at most ${LIMITS.queryRows}, and only "sql" is required.`,
  );
}

function isRowLimit(count: unknown): count is number {
  return Number.isInteger(count) && Number(count) >= 1 && Number(count) <= LIMITS.queryRows;
}

/** The index of one's own that a query asks. */
export interface AskedIndex extends Pick<KeptIndex, "newest" | "served" | "damaged"> {
  readonly position: Pick<KeptIndex["position"], "reached">;
}

/** `index` returns the own index, or throws if it may not be read. */
export async function queryIndex(
  index: () => AskedIndex,
  processes: QueryProcesses,
  name: string,
  query: IndexQuery,
  options: IndexQueryOptions,
): Promise<QueryRows> {
  const { minTx, timeoutMs = LIMITS.waitMs, admit, signal } = options;
  const limits = checkedLimits(options.limits);
  checkedQuery({ sql: query.text, args: query.args });
  const time = new Deadline(timeoutMs);
  // The query must not wait for an index that cannot answer.
  index().served();
  if (minTx !== undefined) await unlessAborted(index().position.reached(minTx, time.leftMs), signal);
  let served: ServedIndex | undefined;
  let asked = index();
  const serve = (): ServedIndex => {
    asked = index();
    return (served = asked.served());
  };
  try {
    const found = await processes.run(serve, query, {
      limits,
      time,
      admit: admit && (() => admit(limits.bytes, Math.min(limits.timeoutMs, time.leftMs))),
      signal,
    });
    if (found.txId > asked.newest)
      throw wrongPosition(
        name,
        `its answer is as of transaction ${found.txId}, and the node has indexed ${asked.newest}.`,
      );
    // The files were replaced with older ones.
    if (minTx !== undefined && found.txId < minTx)
      throw new CairnError(
        "INDEX_CORRUPT",
        `The files of the index ${name} are as of ${found.txId}, before ${minTx}.`,
        "The index is built again from the node's documents.",
      );
    return found;
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT") || served === undefined) throw error;
    throw index().damaged(served, error);
  }
}

/** Throws `REQUEST_INVALID` for a limit that no query would exceed. */
function checkedLimits(given: Partial<QueryLimits> = {}): QueryLimits {
  for (const [name, limit] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name))
      throw badValue(
        `A query has no limit ${name}.`,
        `The limits are ${Object.keys(DEFAULT_LIMITS).join(", ")}.`,
      );
    if (!Number.isSafeInteger(limit) || limit < 1)
      throw badValue(
        `The limit ${name} must be a whole number above 0, not ${limit}.`,
        "Correct it, or omit it.",
      );
  }
  return { ...DEFAULT_LIMITS, ...given };
}

/** Parses rows, part by part: all parts together would occupy the thread for long. */
export async function parseRows({ rows: parts, ...answer }: QueryRows): Promise<ClientRows> {
  const slice = new TimeSlice();
  const rows: (readonly Json[])[] = [];
  for (const part of parts) {
    await slice.yieldIfOver();
    for (const row of JSON.parse(`[${part}]`) as (readonly Json[])[]) rows.push(row);
  }
  return { ...answer, rows };
}
