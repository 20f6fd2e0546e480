import type { Readable } from "node:stream";
import type { S3Access } from "./s3-access.ts";
import type { MultipartUpload } from "./s3-multipart.ts";
import type { Part, PartMemory } from "./s3-parts.ts";

/** The parts of one upload, and who makes them. */
export interface Sending {
  readonly first: Part;
  readonly parts: AsyncGenerator<Part, void, undefined>;
  readonly content: Readable;
  readonly memory: PartMemory;
  readonly counted: (part: Part) => Part;
  readonly signal: AbortSignal | undefined;
}

/** Sends all parts, as many at once as is allowed; nothing is under way any more when it ends. */
export async function sendAll(
  access: S3Access,
  upload: MultipartUpload,
  { first, parts, content, memory, counted, signal }: Sending,
): Promise<void> {
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
  const underWay = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const send = async (part: Part): Promise<void> => {
    try {
      await upload.send(part, either);
    } catch (error) {
      failure ??= { error };
      stop.abort();
      // Whoever makes it need not go on; and a source that stands still must not hold the failure up.
      content.destroy();
    } finally {
      memory.giveBack(part.body);
    }
  };
  const launch = async (part: Part): Promise<void> => {
    const sending = send(part).finally(() => underWay.delete(sending));
    underWay.add(sending);
    while (underWay.size >= access.settings.concurrency) await Promise.race(underWay);
  };
  try {
    await launch(first);
    for await (const part of parts) {
      if (failure !== undefined) break;
      await launch(counted(part));
    }
    await Promise.all(underWay);
  } catch (error) {
    stop.abort();
    await Promise.all(underWay);
    throw failure === undefined ? error : failure.error;
  }
  signal?.throwIfAborted();
  if (failure !== undefined) throw failure.error;
}
