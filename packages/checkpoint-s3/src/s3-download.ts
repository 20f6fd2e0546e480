import { Readable } from "node:stream";
import type { OpenOptions } from "@cairn/checkpoint";
import { Inbox } from "@cairn/kv/threads";
import type { S3Access } from "./s3-access.ts";
import { askRange, fetchRange, type ReadObject } from "./s3-range.ts";

/** The size of the first range. The range is received immediately, so that no connection waits for the reader. */
const FIRST_RANGE_BYTES = 256 * 1024;
/** The largest object of known size that is received as one range; a log backup's segments are smaller. */
const ONE_RANGE_BYTES = 9 * 1024 * 1024;
// Less than half a part, because the many small buffers of received data take more memory than their content.
const RANGE_BYTES = 3 * 1024 * 1024;

/** Returns the content, fetched in concurrent ranges, in order. Throws `NOT_FOUND` if there is no such object. */
export async function openContent(
  access: S3Access,
  name: string,
  { signal, expectedBytes = 0 }: OpenOptions,
): Promise<Readable> {
  const firstBytes = Math.max(FIRST_RANGE_BYTES, expectedBytes <= ONE_RANGE_BYTES ? expectedBytes : 0);
  const object: ReadObject = { name, etag: undefined };
  const answer = await askRange(access, { object, start: 0, end: firstBytes }, signal);
  const { size } = answer;
  const stop = new AbortController();
  let next = Math.min(firstBytes, size);
  const beginning: Buffer[] = [];
  const onBeginning = (chunk: Buffer): void => void beginning.push(chunk);
  await fetchRange(access, { object, start: 0, end: next }, signal ?? stop.signal, onBeginning, answer);
  // The ranges are in the order of the object. Each is passed on as it arrives, because over a slow network, a whole one
  // takes minutes.
  const inFlight = [new Inbox<Buffer | "end">([...beginning, "end"])];
  const launch = (): void => {
    while (inFlight.length < access.settings.concurrency && next < size) {
      const end = Math.min(next + RANGE_BYTES, size);
      const chunks = new Inbox<Buffer | "end">();
      const onChunk = (chunk: Buffer): void => chunks.put(chunk);
      fetchRange(access, { object, start: next, end }, stop.signal, onChunk).then(
        () => chunks.put("end"),
        (error: unknown) => chunks.fail(error),
      );
      inFlight.push(chunks);
      next = end;
    }
  };
  const take = async (): Promise<Buffer | null> => {
    for (let [first] = inFlight; first !== undefined; [first] = inFlight) {
      const chunk = await first.take();
      if (chunk !== "end") return chunk;
      inFlight.shift();
      launch();
    }
    return null;
  };
  const stream = new Readable({
    // Pieces are passed on one at a time, because the stream would join several by copying them.
    highWaterMark: 1,
    signal,
    async read() {
      try {
        this.push(await take());
      } catch (error) {
        this.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    },
    destroy(error, done) {
      stop.abort(error ?? new Error("The reader has stopped reading."));
      done(error);
    },
  });
  // Without the handler, aborting a stream before it is read would end the process. A reader still gets the error.
  stream.on("error", () => undefined);
  return stream;
}
