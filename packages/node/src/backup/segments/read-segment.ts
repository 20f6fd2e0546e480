import { type CheckpointStore } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import { corruptSegment, decodeSegment, MAX_SEGMENT_BYTES, type Segment } from "./segment.ts";
import type { SegmentFile } from "./segment-name.ts";

/** The size up to which a segment is filled, in bytes. A single message may be longer. */
export const SEGMENT_BYTES = 8 * 1024 * 1024;
/** The number of messages up to which a segment is filled. */
export const SEGMENT_MESSAGES = 65_536;

/**
 * Reads and decodes a segment, which is in memory as a whole. Returns undefined if it has been removed since it was listed. Throws
 * `SEGMENT_CORRUPT` and the errors of the store.
 */
export async function readSegment(
  store: CheckpointStore,
  { name, bytes }: Pick<SegmentFile, "name" | "bytes">,
  signal?: AbortSignal,
): Promise<Segment | undefined> {
  if (bytes > MAX_SEGMENT_BYTES)
    throw corruptSegment(name, `it has ${bytes} bytes, more than a segment can have`);
  try {
    const content = await store.open(name, signal === undefined ? {} : { signal });
    const memory = Buffer.allocUnsafeSlow(bytes);
    let length = 0;
    for await (const chunk of content as AsyncIterable<Buffer>) {
      if (length + chunk.length > bytes)
        throw corruptSegment(name, `it has more than the ${bytes} bytes that the store lists`);
      memory.set(chunk, length);
      length += chunk.length;
    }
    return await decodeSegment(name, memory.subarray(0, length));
  } catch (error) {
    if (isCairnError(error, "NOT_FOUND")) return undefined;
    throw error;
  }
}
