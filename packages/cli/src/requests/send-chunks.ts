import type { AbortedLine, BatchResult } from "@cairn/client";
import { backoffMs, CairnError, isCairnError, unlessAborted, wait } from "@cairn/kv";
import { NDJSON, formatCount, parsedJson } from "@cairn/text";
import { chunkBytes, type NdjsonChunk } from "./ndjson-chunks.ts";
import { NoAnswerError, type NodeClient, NodeError } from "./node-client.ts";

export interface SendProgress {
  readonly transactions: number;
  readonly lastTxId: number | undefined;
  /** The number of the line with which to continue. */
  readonly nextLine: number;
}

export interface SendOptions {
  readonly fromLine: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: SendProgress) => void;
  /** Called with the error of a request before its lines are sent again for the first time. */
  readonly onRetry: (error: CairnError) => void;
  /** Called for a line that cannot be stored; sending goes on, so all lines need ids. If missing, sending ends. */
  readonly onRefused?: (line: number, error: NodeError) => Promise<void>;
  /**
   * Called with the number of aborted transactions of a chunk, and at most 10,000 of their lines. If present, each
   * chunk is indexed before the next is sent.
   */
  readonly onAborted?: ((count: number, lines: readonly AbortedLine[]) => Promise<void>) | undefined;
  /** Returns the error to throw for one that ends the sending. */
  readonly onStop?: (error: unknown, chunk: NdjsonChunk, progress: SendProgress) => unknown;
}

const RETRY_FOR_MS = 30_000;
const PAUSES = { firstMs: 100, maxMs: 2_000 };

/**
 * Sends chunks of NDJSON in order, one request at a time, and prepares the next one meanwhile. Ends early, without an
 * error, when the signal is aborted. Lines are sent again only if that cannot store them twice.
 */
export async function sendChunks(
  client: NodeClient,
  chunks: AsyncIterable<NdjsonChunk>,
  options: SendOptions,
): Promise<SendProgress> {
  let progress: SendProgress = {
    transactions: 0,
    lastTxId: undefined,
    nextLine: options.fromLine,
  };
  const { signal } = options;
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    for (;;) {
      const { value: chunk, done } = await unlessAborted(next, signal);
      if (done === true || signal.aborted) return progress;
      next = iterator.next();
      // A read error is handled in the next iteration, not while this chunk is being sent.
      next.catch(() => undefined);
      const result = await sendChunk(client, chunk, progress, options);
      progress = {
        transactions: progress.transactions + result.accepted,
        lastTxId: result.lastTxId ?? progress.lastTxId,
        nextLine: (chunk.at(-1)?.number ?? 0) + 1,
      };
      options.onProgress(progress);
    }
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    return progress;
  } finally {
    const ended = iterator.return?.();
    // A source that waits for its input ends only once that is closed.
    if (signal.aborted) ended?.catch(() => undefined);
    else await ended;
  }
}

/** Sends a chunk, and the lines after each refused one as another chunk. */
async function sendChunk(
  client: NodeClient,
  chunk: NdjsonChunk,
  progress: SendProgress,
  options: SendOptions,
): Promise<Pick<BatchResult, "accepted" | "lastTxId">> {
  let rest = chunk;
  let accepted = 0;
  let lastTxId: number | null = null;
  while (rest.length > 0) {
    try {
      const answer = await sendWithRetries(client, rest, options);
      await noteAborted(answer, options);
      return { accepted: accepted + answer.accepted, lastTxId: answer.lastTxId ?? lastTxId };
    } catch (error) {
      if (error instanceof NodeError) await noteAborted(error.details, options);
      const refusal = options.onRefused === undefined ? undefined : refusalOf(error);
      if (refusal === undefined) throw options.onStop?.(error, chunk, progress) ?? error;
      await options.onRefused?.(refusal.line, refusal.error);
      accepted += refusal.accepted;
      lastTxId = refusal.lastTxId ?? lastTxId;
      rest = rest.filter(({ number }) => number > refusal.line);
    }
  }
  return { accepted, lastTxId };
}

async function noteAborted(
  { aborted = 0, abortedLines = [] }: Partial<BatchResult>,
  { onAborted }: SendOptions,
): Promise<void> {
  if (aborted > 0) await onAborted?.(aborted, abortedLines);
}

/** The codes of errors that concern the content of a line. Sending the line again would not help. */
const REFUSALS = ["TX_INVALID", "TX_TOO_LARGE", "REQUEST_INVALID"] as const;

/** The status of the response to lines that did not arrive in time, which does not concern the content of any. */
const LATE = 408;

function refusalOf(
  error: unknown,
): { line: number; accepted: number; lastTxId: number | null; error: NodeError } | undefined {
  if (!(error instanceof NodeError) || error.status === LATE || !isCairnError(error, ...REFUSALS))
    return undefined;
  const { line, accepted = 0, lastTxId = null } = error.details as Partial<BatchResult> & { line?: number };
  return line === undefined ? undefined : { line, accepted, lastTxId, error };
}

async function sendWithRetries(
  client: NodeClient,
  chunk: NdjsonChunk,
  { signal, onRetry, onAborted }: SendOptions,
): Promise<BatchResult> {
  const awaited = onAborted === undefined ? {} : { await: true, timeout: "PT1H" };
  const deadline = Date.now() + RETRY_FOR_MS;
  for (let failures = 0; ; failures += 1) {
    try {
      return await client.json<BatchResult>({
        method: "POST",
        path: "/api/v1/tx/batch",
        query: { "first-line": chunk[0]?.number, ...awaited },
        body: chunkBytes(chunk),
        headers: { "content-type": NDJSON },
      });
    } catch (error) {
      const pause = backoffMs(failures, PAUSES);
      const isInTime = Date.now() + pause < deadline && !signal.aborted;
      if (!isInTime || !mayRepeat(error, chunk)) throw error;
      if (failures === 0) onRetry(error);
      await wait(pause);
    }
  }
}

/** True if nothing of the chunk was stored, or if every line has an id and is applied only once. */
function mayRepeat(error: unknown, chunk: NdjsonChunk): error is CairnError {
  if (error instanceof NoAnswerError) return !error.sent || everyLineHasId(chunk);
  if (!(error instanceof NodeError)) return false;
  const isTemporary = error.status === LATE || isCairnError(error, "NOT_READY", "LOG_UNREACHABLE");
  return isTemporary && everyLineHasId(chunk);
}

function everyLineHasId(chunk: NdjsonChunk): boolean {
  return chunk.every(({ bytes }) => {
    const transaction = parsedJson(bytes.toString("utf8"));
    return transaction !== null && typeof transaction === "object" && "id" in transaction;
  });
}

/** Formats how long the work took, and its rate if something was done. */
export function pace(items: number, seconds: number): string {
  const rate = items === 0 ? "" : ` (${formatCount(items / Math.max(seconds, 0.001))}/s)`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s${rate}`;
}
