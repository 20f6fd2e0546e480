import { setMaxListeners } from "node:events";
import { Readable } from "node:stream";
import { CairnError, isCairnError } from "@cairn/kv";
import { type S3Access, unexpectedResponse } from "./s3-access.ts";
import { BodyMismatch, dropBody, receiveBody } from "./s3-body.ts";
import { isMissing } from "./s3-errors.ts";
import { pauseBefore, persist } from "./s3-pause.ts";
import { endsEarly, notThere, type StoredRanges } from "@cairn/checkpoint";

/** An object in the version of the first response, whose ETag is kept here and required of all others. */
export interface ReadObject {
  readonly name: string;
  etag: string | undefined;
}

/** A range of an object, from `start` up to but not including `end`. */
export interface ByteRange {
  readonly object: ReadObject;
  readonly start: number;
  readonly end: number;
}

export interface RangeAnswer {
  readonly body: unknown;
  /** The size of the whole object; at most the start of the range if the object has nothing there. */
  readonly size: number;
}

/**
 * Requests a range. The caller must read or discard the body, which is empty if the object ends at `start` or before.
 * Throws `NOT_FOUND` if the object does not exist, and `CHECKPOINT_CORRUPT` if it is another version.
 */
export async function askRange(
  access: S3Access,
  { object, start, end }: ByteRange,
  signal: AbortSignal | undefined,
): Promise<RangeAnswer> {
  const { location } = access.settings;
  const { name, etag } = object;
  const doing = `reading ${name}`;
  const Range = `bytes=${start}-${end - 1}`;
  const headers = { range: Range, ...(etag === undefined ? {} : { "if-match": etag }) };
  const direct = await access.readDirectly(name, headers, signal);
  const answer =
    direct ??
    (await access.call(
      "getObject",
      { Key: access.key(name), Range, IfMatch: etag },
      {
        doing,
        signal,
        unless(refusal) {
          if (refusal.status === 416) return "empty";
          if (refusal.status === 412) return "changed";
          return isMissing(refusal) === null ? "gone" : undefined;
        },
      },
    ));
  if (answer === "gone") throw notThere(name, location);
  if (answer === "changed") throw changed(name, location);
  if (answer === "empty") return { body: Readable.from([]), size: start };
  const found = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.ContentRange ?? "");
  if (Number(found?.[1]) !== start) {
    dropBody(answer.Body);
    const what = `the response to ${Range} was ${answer.ContentRange ?? "not a range, which the service must support"}`;
    throw unexpectedResponse(location, doing, what);
  }
  // Requests that were sent before the first response had no condition, and a service may ignore it.
  object.etag ??= answer.ETag;
  if (answer.ETag === object.etag) return { body: answer.Body, size: Number(found?.[3]) };
  dropBody(answer.Body);
  throw changed(name, location);
}

/**
 * Fetches a range completely, in pieces: if the connection breaks, the rest is requested again. Passes on its bytes, in
 * order, as they arrive. `first` is the response to the range, if it was requested already. Throws `CHECKPOINT_CORRUPT`
 * if the object ends before, and `STORE_UNREACHABLE` after as many consecutive responses without data as a request has
 * attempts.
 */
export async function fetchRange(
  access: S3Access,
  range: ByteRange,
  signal: AbortSignal,
  onChunk: (chunk: Buffer) => void,
  first?: RangeAnswer,
): Promise<void> {
  const { location, maxAttempts, requestTimeout: idleMs } = access.settings;
  const { object, start, end } = range;
  const { name } = object;
  const doing = `reading ${name}`;
  const received = { room: end - start, onChunk, filled: 0 };
  let asked = first;
  // Consecutive responses without data: with progress, the download continues, however often it breaks.
  for (let fruitless = 0; received.filled < received.room; fruitless++) {
    const before = received.filled;
    const rest = { ...range, start: start + before };
    const answer = asked ?? (await persist(maxAttempts, signal, () => askRange(access, rest, signal)));
    asked = undefined;
    if (answer.size < end) {
      dropBody(answer.body);
      throw endsEarly(name, location, end);
    }
    try {
      await receiveBody(answer.body, received, { idleMs, signal });
      if (received.filled === before) throw unexpectedResponse(location, doing, "a response was empty");
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BodyMismatch)
        throw unexpectedResponse(location, doing, "a response was longer than requested");
      const failure = access.explain(error, doing);
      if (!isCairnError(failure, "STORE_UNREACHABLE")) throw failure;
      if (received.filled > before) fruitless = -1;
      else if (fruitless + 1 >= maxAttempts) throw failure;
      else await pauseBefore(fruitless, signal);
    }
  }
}

/** Opens an object for reading ranges of it. Makes no request, so the first read throws `NOT_FOUND`. */
export function objectRanges(access: S3Access, name: string): StoredRanges {
  // Rejects an invalid name.
  access.key(name);
  const object: ReadObject = { name, etag: undefined };
  return {
    async read(start, end, signal = access.closing()) {
      // Many reads may have the same signal, about which Node would warn.
      setMaxListeners(0, signal);
      const chunks: Buffer[] = [];
      await fetchRange(access, { object, start, end }, signal, (chunk) => void chunks.push(chunk));
      if (object.etag !== undefined || chunks.length === 0) return Buffer.concat(chunks);
      const what = "the response had no ETag, by which versions of a file are told apart";
      throw unexpectedResponse(access.settings.location, `reading ${name}`, what);
    },
    close: async () => undefined,
  };
}

function changed(name: string, location: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} in ${location} was replaced while it was being read.`,
    "Find the program that overwrites archives, and stop it: Cairn never does.",
  );
}
