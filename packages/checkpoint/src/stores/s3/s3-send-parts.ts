import type { S3Access } from "./s3-access.ts";
import type { MultipartUpload } from "./s3-multipart.ts";
import type { Part, PartMemory } from "./s3-parts.ts";
import { unlessAborted } from "../../timing/unless-aborted.ts";

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
