import { CairnError } from "@cairn/kv";
import { type NdjsonLine, ndjsonLines } from "@cairn/text";

/** Lines that are sent together, in order: at least one. */
export type NdjsonChunk = readonly NdjsonLine[];

export const CHUNK_BYTES = 1024 * 1024;
const FEED = Buffer.from("\n");
/** No node accepts a longer line, and a source with no line feed in this many bytes is not NDJSON. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** Splits NDJSON into its lines. Throws `TX_TOO_LARGE` for one that is too long. */
export function readLines(source: AsyncIterable<Buffer>): AsyncIterable<readonly NdjsonLine[]> {
  return ndjsonLines(source, MAX_LINE_BYTES, tooLong);
}

export function joinLines(lines: readonly NdjsonLine[]): Buffer {
  return Buffer.concat(lines.flatMap(({ bytes }) => [bytes, FEED]));
}

/** Joins lines into chunks of at most `size` bytes, or one line. Skips lines before `fromLine`. */
export async function* ndjsonChunks(
  pages: AsyncIterable<readonly NdjsonLine[]>,
  { size, fromLine }: { readonly size: number; readonly fromLine: number },
): AsyncIterable<NdjsonChunk> {
  let taken: NdjsonLine[] = [];
  let takenBytes = 0;
  let last = 0;
  for await (const page of pages) {
    for (const line of page) {
      // A node counts the blank lines, too.
      const blank = taken.length === 0 ? 0 : line.number - last - 1;
      last = line.number;
      if (last < fromLine) continue;
      const bytes = blank + line.bytes.length + 1;
      if (taken.length > 0 && takenBytes + bytes > size) {
        yield taken;
        [taken, takenBytes] = [[], 0];
      }
      taken.push(line);
      takenBytes += bytes;
    }
  }
  // Everything may have been loaded before.
  if (last + 1 < fromLine)
    throw new CairnError(
      "REQUEST_INVALID",
      `The input has no transaction in line ${fromLine}, and none after it.`,
      "Correct --from-line.",
    );
  if (taken.length > 0) yield taken;
}

/** Joins the lines of a chunk and the blank ones between them. */
export function chunkBytes(chunk: NdjsonChunk): Buffer {
  let next = chunk[0]?.number ?? 1;
  const parts: Buffer[] = [];
  for (const { number, bytes } of chunk) {
    parts.push(Buffer.alloc(number - next, FEED), bytes, FEED);
    next = number + 1;
  }
  return Buffer.concat(parts);
}

function tooLong(line: number): CairnError {
  return new CairnError(
    "TX_TOO_LARGE",
    `Line ${line} is longer than ${MAX_LINE_BYTES} bytes.`,
    "Write one transaction or document per line, as NDJSON requires.",
  );
}
