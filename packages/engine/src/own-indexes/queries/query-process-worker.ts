import { constants, setPriority } from "node:os";
import { setImmediate } from "node:timers/promises";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { CairnError, Inbox, sendError, type SentError } from "@cairn/kv/threads";
import { PART_BYTES } from "./asked-query.ts";
import { importIndex } from "../import-index.ts";
import type { IndexQuery, OwnIndex, QueryLimits, ServedIndex } from "../own-index.ts";

// A process runs this module in two threads: one answers queries, and the other ends the process if its node has ended,
// or if a query takes too much memory.

/** Orders are carried out one after the other, and answered in this order. */
interface QueryOrder {
  readonly query: IndexQuery;
  readonly limits: Pick<QueryLimits, "rows" | "bytes">;
}

export type QueryMessageOfNode =
  /** Comes first: all orders are for this index. */
  | { readonly index: ServedIndex }
  | QueryOrder
  /** Others carry out so many of the last orders, unless they have begun. */
  | { readonly withdrawn: number }
  /** The node has memory for what comes after the first part of an answer. */
  | { readonly admitted: true };

/** `opening` tells an index that cannot be opened from one that cannot answer. */
export type QueryAnswered =
  | { readonly failed: SentError; readonly opening: boolean }
  | {
      readonly position: string;
      readonly columns: readonly string[];
      /** The last part of the rows. */
      readonly rows: string;
      readonly more: boolean;
    };

/** The order was withdrawn before it began. */
export interface QuerySkipped {
  readonly skipped: true;
}

/** The parts of an answer come before it. Each is whole rows as JSON, separated by commas. */
export type QueryMessage =
  | QueryAnswered
  | QuerySkipped
  | { readonly started: true }
  | { readonly notice: string }
  | { readonly part: string };

/** How often a process looks whether its node still runs, and at its own memory (ms). */
const LOOK_INTERVAL_MS = 100;
/** The memory of the process. That of native code, such as SQLite's, is not part of the heap. */
const MAX_BYTES = 768 * 1024 * 1024;

let served: ServedIndex | undefined;
let opened: OwnIndex | undefined;

async function close(): Promise<void> {
  const index = opened;
  opened = undefined;
  await index?.close();
}

async function answer({ query, limits }: QueryOrder): Promise<QueryAnswered> {
  let opening = true;
  try {
    if (served === undefined) throw new Error("no index came before the first order");
    opened ??= await importIndex(served, true, (notice) => send({ notice }));
    const index = opened;
    opening = false;
    if (index.query === undefined)
      throw new CairnError(
        "REQUEST_INVALID",
        `The index ${served.context.name} answers no queries.`,
        "Its module has no query. Query another index, or add query to the module.",
      );
    const { position, columns, rows } = await index.query(query);
    if (!Array.isArray(columns) || !columns.every((column) => typeof column === "string"))
      throw wrongAnswer("columns that are no list of names");
    return { position, columns, ...(await readRows(rows, limits, columns)) };
  } catch (error) {
    const failed = sendError(error);
    // The files may have been replaced, so that it helps to open them anew.
    if (failed.cairn === undefined) await close().catch(() => undefined);
    return { failed, opening };
  }
}

/** Sends all parts of the rows but the last one, which it returns. */
async function readRows(
  rows: AsyncIterable<unknown> | Iterable<unknown>,
  limits: QueryOrder["limits"],
  columns: readonly string[],
): Promise<{ rows: string; more: boolean }> {
  const before = JSON.stringify(columns).length;
  let part: string[] = [];
  let partBytes = 0;
  let bytes = before;
  let count = 0;
  for await (const row of rows) {
    if (count === limits.rows) return { rows: part.join(","), more: true };
    if (partBytes >= PART_BYTES) {
      send({ part: part.join(",") });
      if (bytes === before + partBytes) await admission.take();
      part = [];
      partBytes = 0;
    }
    if (!Array.isArray(row)) throw wrongAnswer(`a row that is no list (${typeof row})`);
    if (row.length !== columns.length)
      throw wrongAnswer(`${columns.length} columns and a row of ${row.length} values`);
    const json = JSON.stringify(row);
    const size = Buffer.byteLength(json) + 1;
    part.push(json);
    count += 1;
    partBytes += size;
    bytes += size;
    if (bytes > limits.bytes) {
      throw new CairnError(
        "QUERY_LIMIT",
        `The query's first ${count} rows have more than ${limits.bytes} bytes.`,
        "Select fewer columns, or fewer rows with a condition or a lower limit.",
      );
    }
  }
  return { rows: part.join(","), more: false };
}

function wrongAnswer(what: string): CairnError {
  return new CairnError(
    "OWN_INDEX_FAILED",
    `The index ${served?.context.name} answers with ${what}.`,
    "Correct the module of the index: columns is a list of names, and each row is a list with a value for each column.",
  );
}

/** Those that were withdrawn are undefined. */
const orders: (QueryOrder | undefined)[] = [];
const admission = new Inbox<true>();
let isAnswering = false;

async function answerAll(): Promise<void> {
  if (isAnswering) return;
  isAnswering = true;
  while (orders.length > 0) {
    // Receives what came while the one before was carried out, which may withdraw this one.
    await setImmediate();
    const order = orders.shift();
    send(order === undefined ? { skipped: true } : await answer(order));
  }
  isAnswering = false;
}

const sendToNode = process.send?.bind(process);

function send(message: QueryMessage): void {
  // The node may have ended; then this process does, too.
  sendToNode?.(message, undefined, undefined, () => undefined);
}

function serve(): void {
  // Queries must not slow down writes and other reads.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  // Terminals and service managers also send these to a node's processes. The node ends them when it stops.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit());
  // Modules that tell a service manager that they are ready would send that to the node.
  delete process.send;
  process.on("message", (message: QueryMessageOfNode) => {
    if ("index" in message) served = message.index;
    else if ("withdrawn" in message) orders.fill(undefined, -message.withdrawn);
    else if ("admitted" in message) admission.put(true);
    else {
      orders.push(message);
      void answerAll();
    }
  });
  // This thread may be in a query that never ends, and would not notice that the node was killed.
  new Worker(new URL(import.meta.url), { workerData: Number(process.argv[2]) }).unref();
  send({ started: true });
}

function watchNode(node: number): void {
  setInterval(() => {
    if (process.ppid !== node || process.memoryUsage.rss() > MAX_BYTES) process.kill(process.pid, "SIGKILL");
  }, LOOK_INTERVAL_MS);
}

if (isMainThread) serve();
else watchNode(workerData as number);
