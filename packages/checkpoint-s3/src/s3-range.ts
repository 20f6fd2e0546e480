import { CairnError, isCairnError } from "@cairn/kv";
import { type S3Access, unexpectedResponse } from "./s3-access.ts";
import { BodyMismatch, dropBody, emptyBody, receiveBody } from "./s3-body.ts";
import { isMissing } from "./s3-errors.ts";
import { pauseBefore, persist } from "./s3-pause.ts";
import { notThere } from "@cairn/checkpoint";

/** A range of an object, from `start` up to but not including `end`, in the version that has this ETag. */
export interface ByteRange {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly etag: string | undefined;
}

export interface RangeAnswer {
  readonly body: unknown;
  /** The size of the whole object. */
  readonly size: number;
  readonly etag: string | undefined;
}

/**
 * Requests a range. The caller must read or discard the body. Returns `empty` for an empty object. Throws `NOT_FOUND`
 * if the object does not exist, and `CHECKPOINT_CORRUPT` if it no longer has the range's ETag.
 */
export async function askRange(
  access: S3Access,
  { name, start, end, etag }: ByteRange,
  signal: AbortSignal | undefined,
): Promise<RangeAnswer | "empty"> {
  const { location } = access.settings;
  const doing = `reading ${name}`;
  const Range = `bytes=${start}-${end - 1}`;
  const answer = await access.call(
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
  );
  if (answer === "gone") throw notThere(name, location);
  if (answer === "changed") throw changed(name, location);
  if (answer === "empty") return answer;
  const found = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.ContentRange ?? "");
  if (Number(found?.[1]) !== start) {
    dropBody(answer.Body);
    const what = `the response to ${Range} was ${answer.ContentRange ?? "not a range, which the service must support"}`;
    throw unexpectedResponse(location, doing, what);
  }
  return { body: answer.Body, size: Number(found?.[3]), etag: answer.ETag };
}

/**
 * Fetches a range completely, in pieces: if the connection breaks, the rest is requested again. Throws
 * `STORE_UNREACHABLE` after as many consecutive responses without data as a request has attempts.
 */
export async function fetchRange(access: S3Access, range: ByteRange, signal: AbortSignal): Promise<Buffer[]> {
  const { location, maxAttempts, requestTimeout: idleMs } = access.settings;
  const { name, start, end } = range;
  const doing = `reading ${name}`;
  const received = emptyBody(end - start);
  // Consecutive responses without data: with progress, the download continues, however often it breaks.
  for (let fruitless = 0; ; fruitless++) {
    const before = received.filled;
    const rest = { ...range, start: start + before };
    const answer = await persist(maxAttempts, signal, () => askRange(access, rest, signal));
    if (answer === "empty") throw changed(name, location);
    try {
      await receiveBody(answer.body, received, { idleMs, signal });
      if (received.filled === received.room) return received.chunks;
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

function changed(name: string, location: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} in ${location} was replaced while it was being read.`,
    "Find the program that overwrites archives, and stop it: Cairn never does.",
  );
}
