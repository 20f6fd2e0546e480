import { CairnError } from "@cairn/kv";
import { formatCount } from "../../text/quantities.ts";
import { type NdjsonChunk, ndjsonChunks } from "./ndjson-chunks.ts";
import { NoAnswerError, type NodeClient, NodeError } from "./node-client.ts";
import { sendChunks, type SendOptions, type SendProgress } from "./send-chunks.ts";

/** The size of the chunks in which lines are sent. */
export const CHUNK_BYTES = 1024 * 1024;

/**
 * Sends NDJSON to a node in the order of its lines, from a given line on. An error that ends the load names the line
 * with which to continue.
 */
export async function loadTransactions(
  client: NodeClient,
  source: AsyncIterable<Buffer>,
  options: SendOptions,
): Promise<SendProgress> {
  const chunks = ndjsonChunks(source, { size: CHUNK_BYTES, fromLine: options.fromLine });
  return await sendChunks(client, chunks, { ...options, onStop: stopped });
}

/** Returns the error, with a hint that names the number of loaded transactions and the line with which to continue. */
function stopped(error: unknown, chunk: NdjsonChunk, progress: SendProgress): unknown {
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

/** Formats how long the work took, and its rate. */
export function pace(items: number, seconds: number): string {
  const rate = formatCount(items / Math.max(seconds, 0.001));
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s (${rate}/s)`;
}
