import type { CompletedPart } from "@aws-sdk/client-s3";
import { CairnError } from "@cairn/kv";
import { unlessAborted } from "../../timing/unless-aborted.ts";
import { type S3Access, unexpectedResponse } from "./s3-access.ts";
import type { Part, PartMemory } from "./s3-parts.ts";
import { persist } from "./s3-pause.ts";
import { abortUpload } from "./s3-unfinished.ts";

/** An upload in parts. It occupies space in the bucket until it is completed or aborted, although it is not listed. */
export interface MultipartUpload {
  /**
   * Sends a part. Parts may be sent concurrently and in any order. Afterwards, the part's memory belongs to the caller
   * again.
   */
  send(part: Part, signal: AbortSignal): Promise<void>;
  /** Creates the object. If this throws, the service may have created the object nevertheless. */
  complete(options: {
    readonly onlyIfAbsent: boolean;
    readonly signal: AbortSignal | undefined;
  }): Promise<void>;
  /** Frees the parts that were sent. Does nothing if the upload is completed. */
  abort(signal: AbortSignal): Promise<void>;
  /** Whether a response to the upload's creation was lost, so that another upload of this name may exist. */
  readonly doubtful: boolean;
}

export interface NewObject {
  readonly name: string;
  /** A random value that distinguishes this upload's object from any other of the same name. */
  readonly nonce: string;
}

/** The metadata field of {@link NewObject.nonce}. */
export const NONCE_FIELD = "cairn-upload";

/** The maximum number of attempts to abort an upload before it is left to `tidy`. */
const MAX_ABORTS = 3;

export async function beginMultipart(
  access: S3Access,
  { name, nonce }: NewObject,
  signal: AbortSignal | undefined,
): Promise<MultipartUpload> {
  const { bucket, checksums, encryption, storage, location, maxAttempts } = access.settings;
  const target = { Bucket: bucket, Key: access.key(name) };
  const doing = `writing ${name}`;
  const call = { doing, permission: "s3:PutObject" };
  const checked = checksums === "when-supported";
  const begun = await access.call(
    (s3, options) =>
      s3.createMultipartUpload(
        {
          ...target,
          ...encryption,
          ...storage,
          ContentType: "application/x-tar",
          Metadata: { [NONCE_FIELD]: nonce },
          ...(checked ? { ChecksumAlgorithm: "CRC32" } : {}),
        },
        options,
      ),
    { ...call, signal },
  );
  const { UploadId } = begun;
  if (UploadId === undefined) throw unexpectedResponse(location, doing, "the service returned no upload id");
  const sent: CompletedPart[] = [];

  return {
    doubtful: (begun.$metadata.attempts ?? 1) > 1,
    async send({ number, body }, stop) {
      const answer = await persist(maxAttempts, stop, () =>
        access.call(
          (s3, options) =>
            s3.uploadPart(
              { ...target, UploadId, PartNumber: number, Body: body, ContentLength: body.length },
              options,
            ),
          { ...call, signal: stop },
        ),
      );
      if (answer.ETag === undefined)
        throw unexpectedResponse(location, doing, `the service returned no ETag for part ${number}`);
      sent.push({
        PartNumber: number,
        ETag: answer.ETag,
        ...(answer.ChecksumCRC32 === undefined || !checked ? {} : { ChecksumCRC32: answer.ChecksumCRC32 }),
      });
    },
    async complete({ onlyIfAbsent, signal: stop }) {
      const parts = sent.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
      const MultipartUpload = { Parts: parts };
      const condition = onlyIfAbsent ? { IfNoneMatch: "*" } : {};
      await access.call(
        (s3, options) =>
          s3.completeMultipartUpload({ ...target, ...condition, UploadId, MultipartUpload }, options),
        { ...call, signal: stop },
      );
    },
    async abort(stop) {
      for (let time = 0; time < MAX_ABORTS; time++) {
        await abortUpload(access, target.Key, UploadId, stop);
        // A part that was in flight may arrive after the abort and remain.
        const gone = await access.call(
          async (s3, options) => {
            await s3.listParts({ ...target, UploadId, MaxParts: 1 }, options);
            return false;
          },
          {
            doing,
            permission: "s3:ListMultipartUploadParts",
            signal: stop,
            // Without permission to check, the abort counts as complete.
            unless: ({ status }) => (status === 404 || status === 403 || status === 501 ? true : undefined),
          },
        );
        if (gone) return;
      }
    },
  };
}

export function lengthDiffers(
  name: string,
  location: string,
  has: number | undefined,
  sent: number,
): CairnError {
  const keeps = has === undefined ? "none" : `${has}`;
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `${location} kept ${keeps} of the ${sent} bytes of ${name}.`,
    {
      hint: "Nothing was published. If this happens again, use another service: this one does not preserve the data written to it.",
    },
  );
}

export interface Sending {
  readonly first: Part;
  readonly rest: AsyncGenerator<Part, void, undefined>;
  readonly memory: PartMemory;
  readonly onPart: (part: Part) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Sends all parts, with the configured concurrency. The first error ends all transfers, even while the source of the
 * parts is awaited, and is thrown once nothing is in flight.
 */
export async function sendParts(
  access: S3Access,
  upload: MultipartUpload,
  { first, rest, memory, onPart, signal }: Sending,
): Promise<void> {
  // Only the first reason is thrown.
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  const inFlight = new Set<Promise<void>>();
  const send = async (part: Part): Promise<void> => {
    try {
      await upload.send(part, stop.signal);
    } catch (error) {
      stop.abort(error);
    } finally {
      memory.giveBack(part.body);
    }
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    for (let part = first; ;) {
      onPart(part);
      const sending = send(part).finally(() => inFlight.delete(sending));
      inFlight.add(sending);
      while (inFlight.size >= access.settings.concurrency) await Promise.race(inFlight);
      const next = await unlessAborted(rest.next(), stop.signal);
      if (next.done === true) break;
      part = next.value;
    }
  } catch (error) {
    stop.abort(error);
  }
  await Promise.all(inFlight);
  signal?.removeEventListener("abort", onAbort);
  stop.signal.throwIfAborted();
}
