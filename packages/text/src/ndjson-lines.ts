/** The media type of lines of JSON. */
export const NDJSON = "application/x-ndjson";

/** A line of an NDJSON body, without its line break. Blank lines are counted but not yielded. */
export interface NdjsonLine {
  /** The line's number, counted from 1. */
  readonly number: number;
  readonly bytes: Buffer;
}

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/**
 * Yields an array of the lines that each chunk completes. Before the rest of a line longer than `maxBytes` is read,
 * yields the preceding lines and throws the error that `tooLong` returns, so memory is bounded.
 */
export async function* ndjsonLines(
  source: AsyncIterable<Buffer>,
  maxBytes: number,
  tooLong: (line: number) => Error,
): AsyncIterable<readonly NdjsonLine[]> {
  let number = 1;
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of source) {
    const lines: NdjsonLine[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      const piece = chunk.subarray(start, end);
      const line = withoutReturn(rest.length === 0 ? piece : Buffer.concat([...rest, piece]));
      if (line.length > maxBytes) {
        if (lines.length > 0) yield lines;
        throw tooLong(number);
      }
      if (!isBlank(line)) lines.push({ number, bytes: line });
      rest = [];
      restBytes = 0;
      number += 1;
      start = end + 1;
    }
    if (start < chunk.length) {
      rest.push(chunk.subarray(start));
      restBytes += chunk.length - start;
    }
    if (lines.length > 0) yield lines;
    // One extra byte is allowed for a carriage return whose line feed is in the next chunk.
    if (restBytes > maxBytes + 1) throw tooLong(number);
  }
  const last = withoutReturn(Buffer.concat(rest));
  if (last.length > maxBytes) throw tooLong(number);
  if (!isBlank(last)) yield [{ number, bytes: last }];
}

function withoutReturn(line: Buffer): Buffer {
  return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) {
    if (byte !== 0x20 && byte !== 0x09) return false;
  }
  return true;
}
