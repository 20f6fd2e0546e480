import { type CairnError, isCairnError } from "@cairn/kv";
import type { LogMessage } from "../../log/tx-log.ts";
import { differentHistories, holdsEnd, segmentPlace, requireContinuation } from "../segments/continuation.ts";
import { readSegment, SEGMENT_BYTES, SEGMENT_MESSAGES } from "../segments/read-segment.ts";
import type { Segment } from "../segments/segment.ts";
import { inOrder, type SegmentFile } from "../segments/segment-name.ts";
import { type BackupTarget, writeSegment, type WrittenSegment } from "./write-segments.ts";

/** A segment of at least half the size is not merged again, so that each message is written twice at most. */
const WHOLE_PART = 0.5;
/** Segments smaller than this are merged as soon as there are {@link TINY_COUNT} of them, so that a quiet log has few segments, too. */
const TINY_BYTES = 64 * 1024;
const TINY_COUNT = 64;

/**
 * Returns the segments all of whose transactions are in one longer segment, with that segment. Of two that differ only in their
 * compression, the one whose name comes later is superseded. So no two segments ever supersede each other, whatever a node has listed.
 */
export function superseded(segments: readonly SegmentFile[]): { segment: SegmentFile; by: SegmentFile }[] {
  const found: { segment: SegmentFile; by: SegmentFile }[] = [];
  let widest: SegmentFile | undefined;
  for (const segment of segments.toSorted(inOrder)) {
    if (widest === undefined || segment.last > widest.last) widest = segment;
    else if (lengthOf(segment) < lengthOf(widest) || segment.end === widest.end)
      found.push({ segment, by: widest });
  }
  return found;
}

/**
 * Returns consecutive segments that should become one: as many as fit into a segment, if there are more of them than that, or many tiny
 * ones. Undefined if there is nothing to merge. `isExcluded`: segments that cannot be read.
 */
export function planMerge(
  segments: readonly SegmentFile[],
  isExcluded: (segment: SegmentFile) => boolean = () => false,
): readonly SegmentFile[] | undefined {
  const covered = new Set(superseded(segments).map(({ segment }) => segment.name));
  let run: SegmentFile[] = [];
  let bytes = 0;
  for (const segment of segments) {
    if (covered.has(segment.name)) continue;
    const before = run.at(-1);
    const continues = before !== undefined && segment.first <= before.last + 1;
    if (isWhole(segment) || isExcluded(segment) || !continues) {
      const tiny = tinyRun(run);
      if (tiny !== undefined) return tiny;
      run = [];
      bytes = 0;
    }
    if (isWhole(segment) || isExcluded(segment)) continue;
    const messages = segment.last - (run[0]?.first ?? segment.first) + 1;
    if (bytes + sizeOf(segment) > SEGMENT_BYTES || messages > SEGMENT_MESSAGES) return run;
    run.push(segment);
    bytes += sizeOf(segment);
  }
  return tinyRun(run);
}

/** Called with a segment that cannot be used, and the reason. */
export type OnDamaged = (segment: SegmentFile, error: CairnError) => void;

/**
 * Writes one segment with the messages of others, which stay. Returns undefined, and writes nothing, if one of them is damaged or another
 * node has removed it.
 */
export async function mergeSegments(
  target: BackupTarget,
  group: readonly SegmentFile[],
  onDamaged: OnDamaged,
): Promise<WrittenSegment | undefined> {
  const messages: LogMessage[] = [];
  let before: string | undefined;
  let previous: Segment | undefined;
  for (const file of group) {
    const segment = await readUsable(target, file, onDamaged, (read) => {
      if (previous !== undefined) requireContinuation(segmentPlace(previous), read);
    });
    if (segment === undefined) return undefined;
    const last = messages.at(-1);
    if (last === undefined) before = segment.header.before ?? undefined;
    const { header } = segment;
    const next = last === undefined ? header.first : last.position + header.log.offset + 1;
    for (const message of segment.messages.from(next)) messages.push(message);
    previous = segment;
  }
  return await writeSegment(target, before, messages);
}

/**
 * Removes segments that a longer one supersedes, after reading that one and comparing it with the end of each. Calls `onRemoved` with each,
 * so that it is known what was removed when the store fails.
 */
export async function removeSuperseded(
  target: BackupTarget,
  segments: readonly SegmentFile[],
  onDamaged: OnDamaged,
  onRemoved: (segment: SegmentFile) => void,
): Promise<void> {
  let kept: { readonly name: string; readonly segment: Segment | undefined } | undefined;
  for (const { segment, by } of superseded(segments)) {
    if (target.signal.aborted) return;
    // They come in the order of `by`, so one is in memory at a time.
    if (kept?.name !== by.name)
      kept = { name: by.name, segment: await readUsable(target, by, onDamaged, () => undefined) };
    if (kept.segment === undefined) continue;
    if (!holdsEnd(kept.segment, segment)) {
      // It may be the only copy of what the log has lost.
      const place = { ...segment, file: segment.name };
      onDamaged(segment, differentHistories(segmentPlace(kept.segment), place, segment.last));
      continue;
    }
    await target.store.remove(segment.name);
    onRemoved(segment);
  }
}

/** Returns a segment; undefined if it has been removed, or if it cannot be used: it is damaged, or `check` throws `LOG_REGRESSED`. */
async function readUsable(
  { store, signal }: BackupTarget,
  file: SegmentFile,
  onDamaged: OnDamaged,
  check: (segment: Segment) => void,
): Promise<Segment | undefined> {
  try {
    const segment = await readSegment(store, file, signal);
    if (segment !== undefined) check(segment);
    return segment;
  } catch (error) {
    if (!isCairnError(error, "SEGMENT_CORRUPT") && !isCairnError(error, "LOG_REGRESSED")) throw error;
    onDamaged(file, error);
    return undefined;
  }
}

function isWhole(segment: SegmentFile): boolean {
  return sizeOf(segment) >= SEGMENT_BYTES * WHOLE_PART || lengthOf(segment) >= SEGMENT_MESSAGES * WHOLE_PART;
}

/** Returns the memory that a segment needs, which compression does not reduce. */
function sizeOf({ bytes, plainBytes = bytes }: SegmentFile): number {
  return plainBytes;
}

/** Returns the first streak of enough tiny segments within a run of consecutive ones. */
function tinyRun(run: readonly SegmentFile[]): readonly SegmentFile[] | undefined {
  let from = 0;
  for (let at = 0; at <= run.length; at += 1) {
    const segment = run[at];
    if (segment !== undefined && sizeOf(segment) < TINY_BYTES) continue;
    if (at - from >= TINY_COUNT) return run.slice(from, at);
    from = at + 1;
  }
  return undefined;
}

function lengthOf({ first, last }: SegmentFile): number {
  return last - first + 1;
}
