import type { CompletedPart } from "@aws-sdk/client-s3";
import { CairnError } from "@cairn/kv";
import { unlessAborted } from "../../timing/unless-aborted.ts";
import { type S3Access, strangeAnswer } from "./s3-access.ts";
import type { Part, PartMemory } from "./s3-parts.ts";
import { persist } from "./s3-pause.ts";
import { abortUpload } from "./s3-unfinished.ts";

/** An upload in parts. One that was begun takes room in the bucket until it is completed or aborted, though nothing lists. */
export interface MultipartUpload {
  /** In any order, several at once. Its memory is the caller's again when it returns. */
  send(part: Part, signal: AbortSignal): Promise<void>;
  /** Makes the object of what was sent. That it failed does not mean that the service did not do it. */
  complete(options: {
    readonly onlyIfAbsent: boolean;
    readonly signal: AbortSignal | undefined;
  }): Promise<void>;
  /** Frees what was sent. Fine when it is completed. */
  abort(signal: AbortSignal): Promise<void>;
  /** Whether the answer to the beginning was lost once, so that another upload of this name may be left. */
  readonly doubtful: boolean;
}

/** Everything about an object that is said when its writing begins. */
export interface NewObject {
  readonly name: string;
  /** Tells this upload's object from any other under the same name. */
  readonly nonce: string;
}

/** The metadata field that holds {@link NewObject.nonce}. */
export const NONCE_FIELD = "cairn-upload";

/** How often to abort before the rest is left to `tidy`. */
const ABORTS = 3;

/** Begins an upload in parts. */
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
  if (UploadId === undefined) throw strangeAnswer(location, doing, "the service gave the upload no id");
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
      if (answer.ETag === undefined) throw strangeAnswer(location, doing, `part ${number} got no ETag`);
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
      for (let time = 0; time < ABORTS; time++) {
        await abortUpload(access, target.Key, UploadId, stop);
        // A part that was on its way may arrive after the abort, and is kept then.
        const gone = await access.call(
          async (s3, options) => {
            await s3.listParts({ ...target, UploadId, MaxParts: 1 }, options);
            return false;
          },
          {
            doing,
            permission: "s3:ListMultipartUploadParts",
            signal: stop,
            // Asked whether anything is left; who may not know believes the abort.
            unless: ({ status }) => (status === 404 || status === 403 || status === 501 ? true : undefined),
          },
        );
        if (gone) return;
      }
    },
  };
}

/** An object that is not as long as what was sent. */
export function keptAnother(
  name: string,
  location: string,
  has: number | undefined,
  sent: number,
): CairnError {
  const keeps = has === undefined ? "nothing" : `${has} bytes`;
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `${location} keeps ${keeps} of the ${sent} bytes of ${name}.`,
    {
      hint: "Nothing was published. If it happens again, the service does not keep what it is given.",
    },
  );
}

/** The parts of one upload, and where their memory comes from. */
export interface Sending {
  readonly first: Part;
  readonly rest: AsyncGenerator<Part, void, undefined>;
  readonly memory: PartMemory;
  /** Hears of each part. */
  readonly onPart: (part: Part) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Sends all parts, as many at once as is allowed. Throws the first of what went wrong, whatever the source of the parts is waiting for;
 * nothing is under way any more when it ends.
 */
export async function sendAll(
  access: S3Access,
  upload: MultipartUpload,
  { first, rest, memory, onPart, signal }: Sending,
): Promise<void> {
  // The first reason that it is aborted with is the one that is thrown.
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  const underWay = new Set<Promise<void>>();
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
      const sending = send(part).finally(() => underWay.delete(sending));
      underWay.add(sending);
      while (underWay.size >= access.settings.concurrency) await Promise.race(underWay);
      const next = await unlessAborted(rest.next(), stop.signal);
      if (next.done === true) break;
      part = next.value;
    }
  } catch (error) {
    stop.abort(error);
  }
  await Promise.all(underWay);
  signal?.removeEventListener("abort", onAbort);
  stop.signal.throwIfAborted();
}
