import { Readable } from "node:stream";
import { isCairnError } from "@cairn/kv";
import type { S3Access } from "./s3-access.ts";
import { BodyMismatch, dropBody, emptyFilling, fillFrom } from "./s3-body.ts";
import { askRange, fetchRange } from "./s3-range.ts";
import type { RangeAnswer } from "./s3-range.ts";

/** So many bytes come with the first answer, and are read at once: no connection waits for a reader. */
const FIRST = 256 * 1024;
// Less than half of a part: what arrives lies in many small buffers, which take more room than they hold.
const RANGE = 3 * 1024 * 1024;

/** The object's content, in order, fetched in several ranges at once; no more of them than may be under way are held. */
export async function openContent(
  access: S3Access,
  name: string,
  signal: AbortSignal | undefined,
  onWhole: () => void,
): Promise<Readable> {
  const first = { name, start: 0, end: FIRST, etag: undefined };
  const answer = await askRange(access, first, signal);
  if (answer === "empty") return Readable.from([], { objectMode: false });
  if (answer.whole && answer.size > FIRST) {
    onWhole();
    return wholeBody(access, answer, name, signal);
  }
  const { size, etag } = answer;
  const stop = new AbortController();
  const head = emptyFilling(Math.min(FIRST, size));
  const wanted = { name, start: 0, end: head.room, etag };
  try {
    await fillFrom(answer.body, head, { idleMs: access.settings.requestTimeout, signal });
  } catch (error) {
    signal?.throwIfAborted();
    // Asked for once more, with as many tries as any other range.
    const broke =
      error instanceof BodyMismatch || isCairnError(access.explain(error, name), "STORE_UNREACHABLE");
    if (!broke) throw error;
  }
  const isWhole = head.filled === head.room;
  const beginning = isWhole ? head.chunks : await fetchRange(access, wanted, signal ?? stop.signal);
  return rangesInOrder(access, { name, size, etag, beginning, next: head.room, stop, signal });
}

interface Ranges {
  readonly name: string;
  readonly size: number;
  readonly etag: string | undefined;
  readonly beginning: readonly Buffer[];
  /** Where the beginning ends. */
  readonly next: number;
  readonly stop: AbortController;
  readonly signal: AbortSignal | undefined;
}

function rangesInOrder(access: S3Access, ranges: Ranges): Readable {
  const { name, size, etag, beginning, stop, signal } = ranges;
  // In the order of the object; only the first is ever waited for.
  const underWay: Promise<Buffer[]>[] = [];
  let next = ranges.next;
  const launch = (): void => {
    while (underWay.length < access.settings.concurrency && next < size) {
      const end = Math.min(next + RANGE, size);
      const fetching = fetchRange(access, { name, start: next, end, etag }, stop.signal);
      // Heard of when its turn comes, or never when an earlier one failed.
      fetching.catch(() => undefined);
      underWay.push(fetching);
      next = end;
    }
  };
  // The last of them first, to be taken from the end.
  let pieces = beginning.toReversed();
  const stream = new Readable({
    // One piece at a time: the stream would copy several together.
    highWaterMark: 1,
    ...(signal === undefined ? {} : { signal }),
    async read() {
      try {
        if (pieces.length === 0) {
          launch();
          pieces = (await underWay.shift())?.toReversed() ?? [];
        }
        this.push(pieces.pop() ?? null);
      } catch (error) {
        this.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    },
    destroy(error, done) {
      stop.abort(error ?? new Error("The reader has left."));
      done(error);
    },
  });
  return unheard(stream);
}

/** A service that knows no ranges sends all at once; where that breaks, the whole restore begins anew. */
function wholeBody(
  access: S3Access,
  { body }: RangeAnswer,
  name: string,
  signal: AbortSignal | undefined,
): Readable {
  if (!(body instanceof Readable)) {
    dropBody(body);
    throw new TypeError("The body of an answer is no stream of Node.");
  }
  async function* content(): AsyncGenerator<Buffer, void, undefined> {
    try {
      yield* body as AsyncIterable<Buffer>;
    } catch (error) {
      throw access.explain(error, `reading ${name}`);
    }
  }
  const stream = Readable.from(content(), { objectMode: false, ...(signal === undefined ? {} : { signal }) });
  stream.on("close", () => dropBody(body));
  return unheard(stream);
}

/** Aborted before anybody reads it, it would end the process; who reads it learns of the error all the same. */
function unheard(stream: Readable): Readable {
  stream.on("error", () => undefined);
  return stream;
}
