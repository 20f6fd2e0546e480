import { CairnError } from "@cairn/kv";
import { type NdjsonLine, ndjsonLines } from "@cairn/text";

/** Consecutive whole lines that are sent together. */
export interface NdjsonChunk {
  readonly bytes: Buffer;
  /** The number of the first line, counted from 1. `lines` is the number of lines, including blank ones. */
  readonly firstLine: number;
  readonly lines: number;
  /** The offset of the chunk's end in the source. */
  readonly end: number;
}

/** The size of the chunks in which lines are sent. */
export const CHUNK_BYTES = 1024 * 1024;
const LINE_FEED = 10;
/** No node accepts a longer line, and a source with no line feed in this many bytes is not NDJSON. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** Cuts a stream into chunks of whole lines, about `size` bytes each. Skips lines before `fromLine`. */
export async function* ndjsonChunks(
  source: AsyncIterable<Buffer>,
  { size, fromLine }: { readonly size: number; readonly fromLine: number },
): AsyncIterable<NdjsonChunk> {
  let line = 1;
  let end = 0;
  let parts: Buffer[] = [];
  let partsBytes = 0;
  let lines = 0;
  /** The number of bytes at the end of `parts` after the last line feed. */
  let open = 0;

  const take = (bytes: Buffer, count: number): NdjsonChunk => {
    end += bytes.length;
    const chunk = { bytes, firstLine: line, lines: count, end };
    line += count;
    return chunk;
  };

  for await (let piece of source) {
    while (line < fromLine && piece.length > 0) {
      const feed = piece.indexOf(LINE_FEED);
      const skipped = feed < 0 ? piece.length : feed + 1;
      end += skipped;
      if (feed >= 0) line += 1;
      piece = piece.subarray(skipped);
    }
    if (piece.length === 0) continue;
    parts.push(piece);
    partsBytes += piece.length;
    const feeds = countFeeds(piece);
    lines += feeds;
    open = feeds === 0 ? open + piece.length : piece.length - 1 - piece.lastIndexOf(LINE_FEED);
    if (open > MAX_LINE_BYTES) throw tooLong(line + lines, "transaction");
    if (partsBytes < size || lines === 0) continue;
    const all = parts.length === 1 ? piece : Buffer.concat(parts);
    const cut = all.length - open;
    yield take(all.subarray(0, cut), lines);
    parts = open === 0 ? [] : [all.subarray(cut)];
    partsBytes = open;
    lines = 0;
  }
  // The last line may have no line feed, and everything may have been loaded before.
  if (line + 1 < fromLine)
    throw new CairnError(
      "REQUEST_INVALID",
      `The input has fewer than ${fromLine} lines.`,
      "Correct --from-line.",
    );
  if (partsBytes > 0) yield take(Buffer.concat(parts), open > 0 ? lines + 1 : lines);
}

export function countFeeds(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, at + 1)) count += 1;
  return count;
}

/** Splits NDJSON into its lines, each of which is a document. Throws `TX_TOO_LARGE` for one that is too long. */
export function documentLines(source: AsyncIterable<Buffer>): AsyncIterable<readonly NdjsonLine[]> {
  return ndjsonLines(source, MAX_LINE_BYTES, (line) => tooLong(line, "document"));
}

function tooLong(line: number, what: string): CairnError {
  return new CairnError(
    "TX_TOO_LARGE",
    `Line ${line} is longer than ${MAX_LINE_BYTES} bytes.`,
    `Write one ${what} per line, as NDJSON requires.`,
  );
}
