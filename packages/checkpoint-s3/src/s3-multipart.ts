import type { CompletedPart } from "@aws-sdk/client-s3";
import { unlessAborted } from "@cairn/kv";
import type { S3Access } from "./s3-access.ts";
import type { Part, PartMemory } from "./s3-parts.ts";
import { persist } from "./s3-pause.ts";
import type { SendingOptions } from "./s3-sending.ts";
import { abortUpload } from "./s3-unfinished.ts";

export type MultipartUpload = Awaited<ReturnType<typeof beginMultipart>>;

/**
 * Begins an upload in parts to the key and with the properties in `object`. It occupies space in the bucket until it is
 * completed or aborted, although it is not listed. `doing` is a participle phrase for messages.
 */
export async function beginMultipart(
  access: S3Access,
  object: { readonly Key: string },
  doing: string,
  signal: AbortSignal | undefined,
) {
  const { checksums, maxAttempts } = access.settings;
  const checked = checksums === "when-supported";
  const begun = await access.call(
    "createMultipartUpload",
    { ...object, ...(checked ? { ChecksumAlgorithm: "CRC32" } : {}) },
    { doing, signal },
  );
  const { UploadId } = begun;
  const target = { Key: object.Key, UploadId };
  const sent: CompletedPart[] = [];

  return {
    /** Whether a response to the upload's creation was lost, so that another upload of this name may exist. */
    doubtful: (begun.$metadata.attempts ?? 1) > 1,
    /** Parts may be sent concurrently and in any order. Afterwards, the memory belongs to the caller again. */
    async send(
      { number: PartNumber, body: Body }: Part,
      stop: AbortSignal,
      onSent: SendingOptions["onSent"],
    ) {
      const part = { ...target, PartNumber, Body, ContentLength: Body.length };
      const { ETag, ChecksumCRC32 } = await persist(maxAttempts, stop, () =>
        access.call("uploadPart", part, { doing, signal: stop, onSent }),
      );
      sent.push({ PartNumber, ETag, ...(checked ? { ChecksumCRC32 } : {}) });
    },
    /** Creates the object, under a condition. If this throws, the service may have created the object nevertheless. */
    async complete(condition: object, stop: AbortSignal | undefined): Promise<void> {
      const Parts = sent.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
      const input = { ...target, ...condition, MultipartUpload: { Parts } };
      await access.call("completeMultipartUpload", input, { doing, signal: stop });
    },
    /** Frees the parts sent, unless the upload is completed. A part that arrives later is left to `tidy`. */
    abort: (stop: AbortSignal): Promise<void> => abortUpload(access, target.Key, UploadId, stop),
  };
}

interface SendPartsOptions {
  readonly atOnce: number;
  readonly signal: AbortSignal | undefined;
  readonly counting: () => SendingOptions["onSent"];
}

/**
 * Sends all parts, at most `atOnce` of them concurrently. The first error ends all transfers, even while the source of
 * the parts is awaited, and is thrown once nothing is in flight.
 */
export async function sendParts(
  upload: MultipartUpload,
  parts: AsyncGenerator<Part, void, undefined>,
  memory: PartMemory,
  { atOnce, signal, counting }: SendPartsOptions,
): Promise<void> {
  // Only the first reason is thrown.
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  const inFlight = new Set<Promise<void>>();
  const send = async (part: Part): Promise<void> => {
    try {
      await upload.send(part, stop.signal, counting());
    } catch (error) {
      stop.abort(error);
    } finally {
      memory.put(part.body);
    }
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    for (;;) {
      const next = await unlessAborted(parts.next(), stop.signal);
      if (next.done === true) break;
      const sending = send(next.value).finally(() => inFlight.delete(sending));
      inFlight.add(sending);
      while (inFlight.size >= atOnce) await Promise.race(inFlight);
    }
  } catch (error) {
    stop.abort(error);
  }
  await Promise.all(inFlight);
  signal?.removeEventListener("abort", onAbort);
  stop.signal.throwIfAborted();
}
