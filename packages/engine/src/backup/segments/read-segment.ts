import { type CheckpointStore, storedChunks } from "@cairn/checkpoint";
import { type CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import { corruptSegment, MAX_SEGMENT_BYTES, type Segment, UnusableSegment } from "./segment.ts";
import { openSegment } from "./sealed-segment.ts";
import type { SegmentBuffers } from "./segment-buffers.ts";
import { lastSegment, type SegmentFile } from "./segment-name.ts";

/** The codes of errors with which a single segment is passed over: something else may hold its transactions. */
export const UNUSABLE_SEGMENT = ["SEGMENT_CORRUPT", "PLAIN_REFUSED"] as const;

export function isUnusableSegment(error: unknown): error is CairnError {
  return UNUSABLE_SEGMENT.some((code) => isCairnError(error, code));
}

/**
 * Reads and decodes a segment; undefined if it was removed. Throws {@link UNUSABLE_SEGMENT} and the store's errors. With
 * `buffers`, the memory is taken from there, and the caller releases the segment.
 */
export async function readSegment(
  store: CheckpointStore,
  { name, bytes }: Pick<SegmentFile, "name" | "bytes">,
  signal?: AbortSignal,
  buffers?: SegmentBuffers,
): Promise<Segment | undefined> {
  if (bytes > MAX_SEGMENT_BYTES)
    throw corruptSegment(name, `it has ${bytes} bytes, more than the maximum size of a segment`);
  try {
    const content = await store.open(name, { signal, expectedBytes: bytes });
    const memory = buffers?.take(bytes) ?? Buffer.allocUnsafeSlow(bytes);
    let length = 0;
    for await (const chunk of storedChunks(name, content, signal)) {
      if (length + chunk.length > bytes)
        throw corruptSegment(name, `it is longer than the ${bytes} bytes that the store reports`);
      memory.set(chunk, length);
      length += chunk.length;
    }
    const stored = memory.subarray(0, length);
    const release = (): void => buffers?.give(memory);
    return await openSegment(name, stored, store.encryption, release);
  } catch (error) {
    if (isCairnError(error, "NOT_FOUND")) return undefined;
    if (!isCairnError(error, "PLAIN_REFUSED")) throw error;
    const { code, message, hint } = error;
    throw new UnusableSegment(name, code, message, { hint, cause: error });
  }
}

/**
 * Throws `KEY_MISSING` if no identity fits the newest segment: the keys are then not those of the backup, and what it
 * holds is unknown. Older segments may have lost their key in a rotation. Returns false if the newest segment says nothing
 * about keys, because it is damaged, plain or gone.
 */
export async function requireKey(
  store: CheckpointStore,
  segments: readonly SegmentFile[],
  signal?: AbortSignal,
): Promise<boolean> {
  const newest = lastSegment(segments);
  if (newest === undefined) return false;
  return (await unlessFailed(readSegment(store, newest, signal), UNUSABLE_SEGMENT, undefined)) !== undefined;
}
