import { setMaxListeners } from "node:events";
import { randomBytes } from "node:crypto";
import { addAbortSignal, type Readable } from "node:stream";
import { CairnError, isCairnError, unlessAborted } from "@cairn/kv";
import { type UploadOptions, alreadyThere } from "@cairn/checkpoint";
import type { S3Access } from "./s3-access.ts";
import { nullAt } from "./s3-errors.ts";
import { beginMultipart, type MultipartUpload, sendParts } from "./s3-multipart.ts";
import { cutParts, type Part, partBytes, PartMemory } from "./s3-parts.ts";
import { abortUploadsOf } from "./s3-unfinished.ts";

/** The metadata field with a random value that distinguishes an upload's object from any other of the same name. */
const NONCE_FIELD = "cairn-upload";

/** The time limit for cleaning up after a failed upload; the next sweep removes the rest. */
const TIDY_TIMEOUT_MS = 15_000;

/** Writes a file completely or not at all. Throws `CONFLICT` if it exists. With `creates`, the service checks that. */
export async function uploadContent(
  access: S3Access,
  creates: boolean,
  name: string,
  content: Readable,
  { signal, expectedBytes, isUsedAtOnce = false, onSent }: UploadOptions,
): Promise<{ bytes: number }> {
  // Any number of uploads may share a signal, so it may have any number of listeners. Deriving a signal for each upload
  // is no alternative: in Node 20, the source keeps every derived signal in a list.
  if (signal !== undefined) setMaxListeners(0, signal);
  const { partSize, concurrency, location, encryption, storage } = access.settings;
  const doing = `writing ${name}`;
  const nonce = randomBytes(12).toString("hex");
  const object = {
    Key: access.key(name),
    ContentType: "application/x-tar",
    Metadata: { [NONCE_FIELD]: nonce },
    ...encryption,
    ...storage,
  };
  const condition = creates ? { IfNoneMatch: "*" } : {};
  // One buffer is filled while the others are sent.
  const memory = new PartMemory(concurrency + 1);
  let bytes = 0;
  let begun: "whole" | "parts" | undefined;
  let upload: MultipartUpload | undefined;
  // A reader receives the error. If the stream is aborted before it is read, it would otherwise end the process.
  content.on("error", () => undefined);
  try {
    if (signal !== undefined) addAbortSignal(signal, content);
    const parts = cutParts(content, partBytes(partSize, expectedBytes), memory);
    const { value: first } = await unlessAborted(parts.next(), signal);
    if (first === undefined) return { bytes };
    signal?.throwIfAborted();
    // The check comes before anything is sent: not every service supports conditions, and none evaluates them before it
    // has received the whole object. Only for a small object is that cheaper than another request.
    if (!(creates && first.last) && (await look(access, name, signal)) !== undefined)
      throw alreadyThere(name, location);
    if (first.last) {
      begun = "whole";
      bytes = first.body.length;
      const input = { ...object, ...condition, Body: first.body, ContentLength: bytes };
      const call = { doing, signal, unless: nullAt(412), onSent: firstTime(onSent) };
      const isTaken = (await access.call("putObject", input, call)) === null;
      // If the request was repeated, its first attempt may have succeeded.
      if (isTaken && (await look(access, name, signal))?.nonce !== nonce) throw alreadyThere(name, location);
    } else {
      begun = "parts";
      upload = await beginMultipart(access, object, doing, signal);
      async function* counted(begin: Part): AsyncGenerator<Part, void, undefined> {
        for (let part: Part | void = begin; part !== undefined; part = (await parts.next()).value) {
          bytes += part.body.length;
          yield part;
        }
      }
      await sendParts(upload, counted(first), memory, {
        atOnce: concurrency,
        signal,
        counting: () => firstTime(onSent),
      });
      await complete(access, upload, condition, { name, nonce, bytes }, signal);
    }
    return { bytes };
  } catch (error) {
    content.destroy();
    if (begun !== undefined) {
      const isKept = (found: StoredObject): boolean => isUsedAtOnce && found.bytes === bytes;
      await tidy(access, { name, nonce, reason: error }, begun === "parts", upload, isKept);
    }
    signal?.throwIfAborted();
    throw error;
  }
}

/**
 * Returns what a request calls with the number of bytes sent in each attempt. Bytes that are sent again do not count,
 * because an upload whose requests are only repeated makes no progress.
 */
function firstTime(onSent: UploadOptions["onSent"]): (sent: number) => void {
  let most = 0;
  return (sent) => {
    if (sent > most) onSent?.();
    most = Math.max(most, sent);
  };
}

/** Checks the object itself, as a response may be lost, and some services report a failure after a success. */
async function complete(
  access: S3Access,
  upload: MultipartUpload,
  condition: object,
  { name, nonce, bytes }: { readonly name: string; readonly nonce: string; readonly bytes: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { location } = access.settings;
  let failure: unknown;
  try {
    await upload.complete(condition, signal);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    failure = error;
  }
  const found = await look(access, name, signal);
  // Some services keep no metadata. Then the confirmation shows that the object is the one that was uploaded.
  const isOwn = found?.nonce === nonce || (found?.nonce === undefined && failure === undefined);
  if (isOwn && found?.bytes === bytes) {
    if (upload.doubtful) await abortUploadsOf(access, name, signal);
    return;
  }
  if (found !== undefined && !isOwn) throw alreadyThere(name, location);
  const message = `${location} kept ${found?.bytes ?? "none"} of the ${bytes} bytes of ${name}.`;
  const hint =
    "Nothing was published. If this happens again, use another service: this one does not preserve the data written to it.";
  throw failure ?? new CairnError("CHECKPOINT_INCOMPLETE", message, hint);
}

interface StoredObject {
  readonly bytes: number;
  readonly nonce: string | undefined;
}

async function look(access: S3Access, name: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
  const call = { doing: `looking for ${name}`, signal, unless: nullAt(404) };
  const found = await access.call("headObject", { Key: access.key(name) }, call);
  if (found === null) return undefined;
  return { bytes: found.ContentLength ?? 0, nonce: found.Metadata?.[NONCE_FIELD] };
}

/** Removes the leftovers of a failed upload, within a time limit. `reason` is the error that the caller throws. */
async function tidy(
  access: S3Access,
  { name, nonce, reason }: { readonly name: string; readonly nonce: string; readonly reason: unknown },
  inParts: boolean,
  upload: MultipartUpload | undefined,
  isKept: (found: StoredObject) => boolean,
): Promise<void> {
  const signal = AbortSignal.timeout(TIDY_TIMEOUT_MS);
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      // The next sweep finds the rest, if the service permits listing it.
      if (isCairnError(error)) return;
      throw new AggregateError([reason, error], "A failed upload could not be tidied up.", { cause: error });
    }
  };
  if (upload !== undefined) await attempt(() => upload.abort(signal));
  // The upload may exist even if the response to its creation was lost.
  if (inParts) await attempt(() => abortUploadsOf(access, name, signal));
  await attempt(async () => {
    const found = await look(access, name, signal);
    if (found?.nonce !== nonce || isKept(found)) return;
    await access.call("deleteObject", { Key: access.key(name) }, { doing: `removing ${name}`, signal });
  });
}
