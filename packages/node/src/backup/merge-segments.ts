import { type CairnError, isCairnError } from "@cairn/kv";
import type { LogMessage } from "../log/tx-log.ts";
import { readSegment, SEGMENT_BYTES, SEGMENT_MESSAGES } from "./read-segment.ts";
import type { Segment } from "./segment.ts";
import type { SegmentFile } from "./segment-name.ts";
import { type BackupTarget, writeSegment, type WrittenSegment } from "./write-segments.ts";

/** A segment of at least half the size is not merged again, so that each message is written twice at most. */
const WHOLE_PART = 0.5;
/** Segments smaller than this are merged as soon as there are {@link TINY_COUNT} of them, so that a quiet log has few segments, too. */
const TINY_BYTES = 64 * 1024;
const TINY_COUNT = 64;

/** Returns the segments all of whose transactions are in one longer segment, with that segment. */
export function superseded(segments: readonly SegmentFile[]): { segment: SegmentFile; by: SegmentFile }[] {
  const found: { segment: SegmentFile; by: SegmentFile }[] = [];
  let widest: SegmentFile | undefined;
  for (const segment of segments.toSorted((a, b) => a.first - b.first || b.last - a.last)) {
    if (widest !== undefined && segment.last <= widest.last && lengthOf(segment) < lengthOf(widest))
      found.push({ segment, by: widest });
    else if (widest === undefined || segment.last > widest.last) widest = segment;
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
    if (bytes + segment.bytes > SEGMENT_BYTES || messages > SEGMENT_MESSAGES) return run;
    run.push(segment);
    bytes += segment.bytes;
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
  for (const file of group) {
    const segment = await readWhole(target, file, onDamaged);
    if (segment === undefined) return undefined;
    const last = messages.at(-1);
    if (last === undefined) before = segment.header.before ?? undefined;
    const fresh =
      last === undefined
        ? segment.messages
        : segment.messages.filter(({ position }) => position > last.position);
    for (const message of fresh) messages.push(message);
  }
  return await writeSegment(target, before, messages);
}

/** Removes segments that a longer one supersedes, after reading that one. Returns the names. */
export async function removeSuperseded(
  target: BackupTarget,
  segments: readonly SegmentFile[],
  onDamaged: OnDamaged,
): Promise<string[]> {
  const removed: string[] = [];
  const whole = new Map<string, boolean>();
  for (const { segment, by } of superseded(segments)) {
    if (!whole.has(by.name)) whole.set(by.name, (await readWhole(target, by, onDamaged)) !== undefined);
    if (whole.get(by.name) !== true) continue;
    await target.store.remove(segment.name);
    removed.push(segment.name);
  }
  return removed;
}

/** Returns a segment; undefined if it has been removed or is damaged. */
async function readWhole(
  { store, signal }: BackupTarget,
  file: SegmentFile,
  onDamaged: OnDamaged,
): Promise<Segment | undefined> {
  try {
    return await readSegment(store, file, signal);
  } catch (error) {
    if (!isCairnError(error, "SEGMENT_CORRUPT")) throw error;
    onDamaged(file, error);
    return undefined;
  }
}

function isWhole(segment: SegmentFile): boolean {
  return segment.bytes >= SEGMENT_BYTES * WHOLE_PART || lengthOf(segment) >= SEGMENT_MESSAGES * WHOLE_PART;
}

/** Returns the first streak of enough tiny segments within a run of consecutive ones. */
function tinyRun(run: readonly SegmentFile[]): readonly SegmentFile[] | undefined {
  let from = 0;
  for (let at = 0; at <= run.length; at += 1) {
    const segment = run[at];
    if (segment !== undefined && segment.bytes < TINY_BYTES) continue;
    if (at - from >= TINY_COUNT) return run.slice(from, at);
    from = at + 1;
  }
  return undefined;
}

function lengthOf({ first, last }: SegmentFile): number {
  return last - first + 1;
}
