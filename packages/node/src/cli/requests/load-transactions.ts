import { CairnError, isCairnError } from "@cairn/kv";
import { NDJSON } from "../../http/requests/request-body.ts";
import { type NdjsonChunk, ndjsonChunks } from "./ndjson-chunks.ts";
import { type NodeClient, NodeError } from "./node-client.ts";
import { NoAnswerError } from "./node-connections.ts";

/** The progress of a load. */
export interface LoadProgress {
  readonly transactions: number;
  readonly lastTxId: number | undefined;
  /** The number of bytes of the source that have been acknowledged or skipped. */
  readonly bytes: number;
  /** The number of the line with which to continue. */
  readonly nextLine: number;
}

/** The options for {@link loadTransactions}. */
export interface LoadOptions {
  readonly fromLine: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: LoadProgress) => void;
  /** Called with the error of a request before its lines are sent again. */
  readonly onRetry: (error: CairnError) => void;
}

const CHUNK_BYTES = 1024 * 1024;
const RETRY_FOR_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/**
 * Sends NDJSON to a node in the order of its lines. Sends one request at a time and prepares the lines of the next one
 * in the meantime. Ends early, without an error, when `signal` is aborted. Lines are sent again only if they cannot be
 * stored twice as a result.
 */
export async function loadTransactions(
  client: NodeClient,
  source: AsyncIterable<Buffer>,
  options: LoadOptions,
): Promise<LoadProgress> {
  let progress: LoadProgress = {
    transactions: 0,
    lastTxId: undefined,
    bytes: 0,
    nextLine: options.fromLine,
  };
  const chunks = ndjsonChunks(source, { size: CHUNK_BYTES, fromLine: options.fromLine });
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    for (;;) {
      const { value: chunk, done } = await next;
      if (done === true || options.signal.aborted) return progress;
      next = iterator.next();
      // A read error is handled in the next iteration, not while this chunk is being sent.
      next.catch(() => undefined);
      const result = await sendWithRetries(client, chunk, progress, options);
      progress = {
        transactions: progress.transactions + result.accepted,
        lastTxId: result.lastTxId ?? progress.lastTxId,
        bytes: chunk.end,
        nextLine: chunk.firstLine + chunk.lines,
      };
      options.onProgress(progress);
    }
  } finally {
    await iterator.return?.();
  }
}

interface BatchAnswer {
  readonly accepted: number;
  readonly lastTxId: number | null;
}

async function sendWithRetries(
  client: NodeClient,
  chunk: NdjsonChunk,
  progress: LoadProgress,
  options: LoadOptions,
): Promise<BatchAnswer> {
  const deadline = Date.now() + RETRY_FOR_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(LONGEST_PAUSE_MS, pause * 2)) {
    try {
      return await send(client, chunk);
    } catch (error) {
      const isInTime = Date.now() + pause < deadline && !options.signal.aborted;
      if (!isInTime || !mayRepeat(error, chunk)) throw stopped(error, chunk, progress);
      options.onRetry(error);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

async function send(client: NodeClient, chunk: NdjsonChunk): Promise<BatchAnswer> {
  const answer = await client.json({
    method: "POST",
    path: "/api/v1/tx/batch",
    query: { "first-line": chunk.firstLine },
    body: chunk.bytes,
    headers: { "content-type": NDJSON },
  });
  return answer as BatchAnswer;
}

/**
 * Returns whether the chunk may be sent again: either none of it was stored, or every line has an id and is applied
 * only once.
 */
function mayRepeat(error: unknown, chunk: NdjsonChunk): error is CairnError {
  if (error instanceof NoAnswerError) return !error.sent || everyLineHasId(chunk);
  if (!(error instanceof NodeError)) return false;
  if (!isCairnError(error, "NOT_READY") && !isCairnError(error, "LOG_UNREACHABLE")) return false;
  return everyLineHasId(chunk);
}

function everyLineHasId({ bytes }: NdjsonChunk): boolean {
  return bytes
    .toString("utf8")
    .split("\n")
    .every((line) => line.trim() === "" || hasId(line));
}

function hasId(line: string): boolean {
  try {
    const transaction = JSON.parse(line) as unknown;
    return transaction !== null && typeof transaction === "object" && "id" in transaction;
  } catch {
    return false;
  }
}

/** Returns the error, with a hint that names the number of loaded transactions and the line with which to continue. */
function stopped(error: unknown, chunk: NdjsonChunk, progress: LoadProgress): unknown {
  if (!(error instanceof CairnError)) return error;
  const { accepted, line, acceptedAfter } = error instanceof NodeError ? error.details : {};
  const loaded = progress.transactions + (typeof accepted === "number" ? accepted : 0);
  const next = typeof line === "number" ? line : chunk.firstLine;
  const lastLine = chunk.firstLine + chunk.lines - 1;
  const uncertain =
    (error instanceof NoAnswerError && error.sent) ||
    (typeof acceptedAfter === "number" && acceptedAfter > 0);
  const doubt = uncertain
    ? ` Some of the lines ${next} to ${lastLine} may be stored; lines with an id can be sent again safely.`
    : "";
  return new CairnError(error.code, error.message, {
    hint: `${error.hint === undefined ? "" : `${error.hint} `}Continue with --from-line ${next}. ${loaded} transactions were loaded before the error.${doubt}`,
    cause: error,
  });
}
