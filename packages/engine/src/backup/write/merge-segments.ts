import { type CairnError, inParallel, isCairnError } from "@cairn/kv";
import type { LogMessage } from "../../log/tx-log.ts";
import { differentHistories, holdsEnd, segmentPlace, requireContinuation } from "../segments/continuation.ts";
import { readSegment } from "../segments/read-segment.ts";
import type { Segment } from "../segments/segment.ts";
import { inOrder, type SegmentFile, versionOf } from "../segments/segment-name.ts";
import { type BackupMemory, isDamaged, type LookResults } from "./look-results.ts";
import { unreadable } from "./segment-reads.ts";
import {
  type BackupTarget,
  SEGMENT_BYTES,
  SEGMENT_MESSAGES,
  writeSegment,
  type WrittenSegment,
} from "./write-segments.ts";

/** A segment with this share of the target size or count is not merged again: a message is rewritten only so often. */
const WHOLE_PART = 0.5;
/**
 * Smaller segments are merged as soon as there are {@link TINY_COUNT} of them, so that even a quiet log has few; as many
 * at once, so that a failed request does not undo the work on a long backlog.
 */
const TINY_BYTES = 64 * 1024;
const TINY_COUNT = 64;
/** The maximum number of concurrent removals. An upload to S3 has as many concurrent requests. */
const REMOVALS_AT_ONCE = 4;

export function hasToMerge(segments: readonly SegmentFile[], memory: BackupMemory): boolean {
  const whole = segments.filter((segment) => !isDamaged(memory, segment));
  return (
    superseded(whole).length > 0 || planMerge(segments, (segment) => isDamaged(memory, segment)) !== undefined
  );
}

/** Merges small segments, and removes segments whose messages are all contained in a longer one. */
export async function tidyBackup(
  target: BackupTarget,
  memory: BackupMemory,
  done: LookResults,
): Promise<void> {
  const isUnusable = (segment: SegmentFile): boolean => isDamaged(memory, segment);
  const onDamaged: OnDamaged = (segment, error) => memory.damaged.set(versionOf(segment), error);
  const tidy = async (): Promise<void> => {
    const usable = done.segments.filter((segment) => !isUnusable(segment));
    await removeSuperseded(target, usable, onDamaged, (segment) => done.remove(segment));
  };
  await tidy();
  while (!target.signal.aborted) {
    const group = planMerge(done.segments, isUnusable);
    if (group === undefined) return;
    const known = done.segments.length;
    const merged = await mergeSegments(target, group, onDamaged);
    if (merged === undefined && !group.some(isUnusable)) return;
    if (merged === undefined) continue;
    done.add("merged", merged);
    // The merged segment existed before, so another attempt would achieve nothing.
    if (done.segments.length === known) return;
    await tidy();
  }
}

/**
 * Segments whose transactions one longer segment contains, with that one. If only compression differs, the one that
 * sorts later is superseded, so that no two nodes remove both.
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
 * Returns adjacent segments to merge, if more exist than fit or many are tiny. `isExcluded` excludes unreadable ones.
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
    if (bytes + sizeOf(segment) > SEGMENT_BYTES || messages > SEGMENT_MESSAGES) return tinyRun(run) ?? run;
    run.push(segment);
    bytes += sizeOf(segment);
  }
  return tinyRun(run);
}

type OnDamaged = (segment: SegmentFile, error: CairnError) => void;

/** Writes several segments as one and leaves them. Writes nothing (undefined) if one is damaged or has been removed. */
async function mergeSegments(
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
 * Removes superseded segments after comparing the longer one with each one's end. Calls `onRemoved` for each, as the
 * store may fail later.
 */
async function removeSuperseded(
  target: BackupTarget,
  segments: readonly SegmentFile[],
  onDamaged: OnDamaged,
  onRemoved: (segment: SegmentFile) => void,
): Promise<void> {
  const found = superseded(segments);
  // One longer segment is in memory at a time. It stays, so those that it supersedes can go in any order.
  for (const by of new Set(found.map((one) => one.by))) {
    const kept = target.signal.aborted ? undefined : await readUsable(target, by, onDamaged, () => undefined);
    if (kept === undefined) continue;
    const within = found.filter((one) => one.by === by).map(({ segment }) => segment);
    await inParallel(within, REMOVALS_AT_ONCE, async (segment) => {
      if (target.signal.aborted) return;
      if (holdsEnd(kept, segment)) {
        await target.store.remove(segment.name);
        onRemoved(segment);
        return;
      }
      // The segment is kept, because it may be the only copy of messages that the log has lost.
      const place = { ...segment, file: segment.name };
      onDamaged(segment, differentHistories(segmentPlace(kept), place, segment.last));
    });
  }
}

/** Undefined if the segment was removed, cannot be read, or makes `check` throw `LOG_REGRESSED`. */
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
    onDamaged(file, isCairnError(error, "LOG_REGRESSED") ? error : unreadable(file, error));
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

/** Returns the first {@link TINY_COUNT} tiny segments in sequence within a run; undefined if there are none. */
function tinyRun(run: readonly SegmentFile[]): readonly SegmentFile[] | undefined {
  let from = 0;
  for (const [at, segment] of run.entries()) {
    if (sizeOf(segment) >= TINY_BYTES) from = at + 1;
    else if (at + 1 - from === TINY_COUNT) return run.slice(from, at + 1);
  }
  return undefined;
}

function lengthOf({ first, last }: SegmentFile): number {
  return last - first + 1;
}
