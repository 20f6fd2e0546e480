import { setMaxListeners } from "node:events";
import { randomBytes } from "node:crypto";
import { addAbortSignal, type Readable } from "node:stream";
import { isCairnError } from "@cairn/kv";
import type { UploadOptions } from "../../store/checkpoint-store.ts";
import { alreadyThere } from "../../store/stored-files.ts";
import { unlessAborted } from "../../timing/unless-aborted.ts";
import type { S3Access } from "./s3-access.ts";
import {
  beginMultipart,
  lengthDiffers,
  type MultipartUpload,
  type NewObject,
  NONCE_FIELD,
  sendParts,
} from "./s3-multipart.ts";
import { cutParts, type Part, partMemory, partSizes } from "./s3-parts.ts";
import type { S3Findings } from "./s3-probe.ts";
import { abortUploadsOf } from "./s3-unfinished.ts";

/** The time limit for cleaning up after a failed upload; the next sweep removes the rest. */
const TIDY_TIMEOUT_MS = 15_000;

interface StoredObject {
  readonly bytes: number;
  readonly nonce: string | undefined;
}

/** Afterwards, the object exists completely or not at all. Throws `CONFLICT` if it already exists. */
export async function uploadContent(
  access: S3Access,
  findings: Pick<S3Findings, "creates">,
  name: string,
  content: Readable,
  { signal, expectedBytes, isUsedAtOnce = false }: UploadOptions,
): Promise<{ bytes: number }> {
  // Any number of uploads may share a signal, so it may have any number of listeners. Deriving a signal for each upload
  // is no alternative: in Node 20, the source keeps every derived signal in a list.
  if (signal !== undefined) setMaxListeners(0, signal);
  const { partSize, concurrency, location } = access.settings;
  const object: NewObject = { name, nonce: randomBytes(12).toString("hex") };
  // One buffer is filled while the others are sent.
  const memory = partMemory(concurrency + 1);
  let bytes = 0;
  const onPart = ({ body }: Part): void => {
    bytes += body.length;
  };
  let begun: "whole" | "parts" | undefined;
  let upload: MultipartUpload | undefined;
  // A reader receives the stream's error. If the stream is aborted before it is read, the error would otherwise end the
  // process.
  content.on("error", () => undefined);
  try {
    if (signal !== undefined) addAbortSignal(signal, content);
    const parts = cutParts(content, partSizes(partSize, expectedBytes), memory);
    const first = await unlessAborted(parts.next(), signal);
    if (first.done === true) return { bytes };
    signal?.throwIfAborted();
    // The check comes before anything is sent: not every service supports conditions, and none evaluates them before it
    // has received the whole object. Only for a small object is that cheaper than another request.
    const isComparedThere = findings.creates && first.value.last;
    if (!isComparedThere && (await look(access, name, signal)) !== undefined)
      throw alreadyThere(name, location);
    begun = first.value.last ? "whole" : "parts";
    if (begun === "whole") {
      onPart(first.value);
      await putWhole(access, findings, object, first.value.body, signal);
    } else {
      upload = await beginMultipart(access, object, signal);
      await sendParts(access, upload, { first: first.value, rest: parts, memory, onPart, signal });
      await complete(access, findings, upload, object, bytes, signal);
    }
    return { bytes };
  } catch (error) {
    content.destroy();
    if (begun !== undefined) {
      const kept = isUsedAtOnce ? bytes : undefined;
      await tidy(access, object, { inParts: begun === "parts", upload, kept, reason: error });
    }
    signal?.throwIfAborted();
    throw error;
  }
}

/** Checks the object itself, as a response may be lost, and some services report a failure after a success. */
async function complete(
  access: S3Access,
  findings: Pick<S3Findings, "creates">,
  upload: MultipartUpload,
  { name, nonce }: NewObject,
  bytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { location } = access.settings;
  let failure: { readonly error: unknown } | undefined;
  try {
    await upload.complete({ onlyIfAbsent: findings.creates, signal });
  } catch (error) {
    if (!isCairnError(error)) throw error;
    failure = { error };
  }
  const found = await look(access, name, signal);
  if (found?.nonce === nonce && found.bytes === bytes) {
    if (upload.doubtful) await abortUploadsOf(access, name, signal);
    return;
  }
  if (found !== undefined && found.nonce !== nonce) throw alreadyThere(name, location);
  throw failure === undefined ? lengthDiffers(name, location, found?.bytes, bytes) : failure.error;
}

async function putWhole(
  access: S3Access,
  { creates }: Pick<S3Findings, "creates">,
  { name, nonce }: NewObject,
  body: Buffer,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { bucket, encryption, storage, location } = access.settings;
  const taken = await access.call(
    async (s3, options) => {
      const answer = await s3.putObject(
        {
          Bucket: bucket,
          Key: access.key(name),
          Body: body,
          ContentLength: body.length,
          ContentType: "application/x-tar",
          Metadata: { [NONCE_FIELD]: nonce },
          ...encryption,
          ...storage,
          ...(creates ? { IfNoneMatch: "*" } : {}),
        },
        options,
      );
      return answer === undefined;
    },
    {
      doing: `writing ${name}`,
      permission: "s3:PutObject",
      signal,
      unless: ({ status }) => (status === 412 ? true : undefined),
    },
  );
  // If the request was repeated, its first attempt may have succeeded.
  if (taken && (await look(access, name, signal))?.nonce !== nonce) throw alreadyThere(name, location);
}

async function look(access: S3Access, name: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
  const { bucket } = access.settings;
  const found = await access.call(
    async (s3, options): Promise<StoredObject> => {
      const { ContentLength = 0, Metadata } = await s3.headObject(
        { Bucket: bucket, Key: access.key(name) },
        options,
      );
      return { bytes: ContentLength, nonce: Metadata?.[NONCE_FIELD] };
    },
    {
      doing: `looking for ${name}`,
      permission: "s3:GetObject and s3:ListBucket",
      signal,
      unless: ({ status }) => (status === 404 ? null : undefined),
    },
  );
  return found ?? undefined;
}

interface Leftovers {
  readonly inParts: boolean;
  readonly upload: MultipartUpload | undefined;
  /** The size of an object that must not be removed (bytes); undefined if any may be. */
  readonly kept: number | undefined;
  /** The error that the caller throws. */
  readonly reason: unknown;
}

/** Removes the leftovers of a failed upload, within a time limit. */
async function tidy(
  access: S3Access,
  { name, nonce }: NewObject,
  { inParts, upload, kept, reason }: Leftovers,
): Promise<void> {
  const signal = AbortSignal.timeout(TIDY_TIMEOUT_MS);
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      // The next sweep finds the rest, if the service permits listing it.
      if (isCairnError(error) || signal.aborted) return;
      throw new AggregateError([reason, error], "A failed upload could not be tidied up.", { cause: error });
    }
  };
  if (upload !== undefined) await attempt(() => upload.abort(signal));
  // The upload may exist even if the response to its creation was lost.
  if (inParts) await attempt(() => abortUploadsOf(access, name, signal));
  await attempt(async () => {
    const found = await look(access, name, signal);
    if (found?.nonce !== nonce || found.bytes === kept) return;
    await access.call(
      (s3, options) => s3.deleteObject({ Bucket: access.settings.bucket, Key: access.key(name) }, options),
      {
        doing: `removing ${name}`,
        permission: "s3:DeleteObject",
        signal,
      },
    );
  });
}
