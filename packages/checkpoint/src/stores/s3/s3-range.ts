import { CairnError, isCairnError } from "@cairn/kv";
import type { S3Access } from "./s3-access.ts";
import { strangeAnswer } from "./s3-access.ts";
import { BodyMismatch, dropBody, emptyFilling, fillFrom } from "./s3-body.ts";
import { pauseBefore, persist } from "./s3-pause.ts";
import { notThere } from "../../store/stored-files.ts";

/** Bytes of an object: from `start` up to but not including `end`, of the version with this ETag. */
export interface ByteRange {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly etag: string | undefined;
}

/** What the service said of an object with the first of its bytes. */
export interface RangeAnswer {
  readonly body: unknown;
  /** Of the whole object. */
  readonly size: number;
  readonly etag: string | undefined;
  /** The service sent everything, though a part was asked for. */
  readonly whole: boolean;
}

/** Asks for a range; the body is the caller's to read or to drop. `empty` for an object without bytes. */
export async function askRange(
  access: S3Access,
  { name, start, end, etag }: ByteRange,
  signal: AbortSignal | undefined,
): Promise<RangeAnswer | "empty"> {
  const { bucket, location } = access.settings;
  const doing = `reading ${name}`;
  const Range = `bytes=${start}-${end - 1}`;
  const answer = await access.call(
    (s3, options) =>
      s3.getObject(
        { Bucket: bucket, Key: access.key(name), Range, ...(etag === undefined ? {} : { IfMatch: etag }) },
        options,
      ),
    {
      doing,
      permission: "s3:GetObject",
      signal,
      unless: ({ status, word }) => {
        if (status === 416) return "empty";
        if (status === 412) return "changed";
        return status === 404 && word !== "NoSuchBucket" ? "gone" : undefined;
      },
    },
  );
  if (answer === "gone") throw notThere(name, location);
  if (answer === "changed") throw changed(name, location);
  if (answer === "empty") return answer;
  const found = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.ContentRange ?? "");
  const size = Number(found?.[3] ?? answer.ContentLength);
  if (!Number.isSafeInteger(size) || (found !== null && Number(found[1]) !== start)) {
    dropBody(answer.Body);
    throw strangeAnswer(
      location,
      doing,
      `the answer to ${Range} was ${answer.ContentRange ?? "of unknown size"}`,
    );
  }
  return { body: answer.Body, size, etag: answer.ETag, whole: found === null };
}

/**
 * A range, whole and in pieces: where the connection broke it is asked for from there on. Throws `STORE_UNREACHABLE` when nothing more came for as
 * many times in a row as a request may be made.
 */
export async function fetchRange(access: S3Access, range: ByteRange, signal: AbortSignal): Promise<Buffer[]> {
  const { location, maxAttempts, requestTimeout: idleMs } = access.settings;
  const { name, start, end } = range;
  const doing = `reading ${name}`;
  const filling = emptyFilling(end - start);
  // Answers in a row that brought nothing: as long as something comes, it is asked on, however often the connection breaks.
  for (let fruitless = 0; ; fruitless++) {
    const before = filling.filled;
    const rest = { ...range, start: start + before };
    const answer = await persist(maxAttempts, signal, () => askRange(access, rest, signal));
    if (answer === "empty") throw changed(name, location);
    if (answer.whole && (start + before > 0 || answer.size !== end)) {
      dropBody(answer.body);
      throw strangeAnswer(location, doing, "the service sent everything where a range was asked for");
    }
    try {
      await fillFrom(answer.body, filling, { idleMs, signal });
      if (filling.filled === filling.room) return filling.chunks;
      if (filling.filled === before) throw strangeAnswer(location, doing, "an answer was empty");
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BodyMismatch)
        throw strangeAnswer(location, doing, "an answer was longer than asked for");
      const failure = access.explain(error, doing);
      if (!isCairnError(failure, "STORE_UNREACHABLE")) throw failure;
      if (filling.filled > before) {
        fruitless = -1;
        continue;
      }
      if (fruitless + 1 >= maxAttempts) throw failure;
      await pauseBefore(fruitless, signal);
    }
  }
}

function changed(name: string, location: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} in ${location} became another file while it was read.`,
    {
      hint: "Cairn never overwrites archives; look for what does.",
    },
  );
}
