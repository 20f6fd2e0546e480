import { mergeSegments, type OnDamaged, planMerge, removeSuperseded, superseded } from "./merge-segments.ts";
import { type BackupMemory, isDamaged, type LookResults } from "./look-results.ts";
import { type SegmentFile, versionOf } from "../segments/segment-name.ts";
import type { BackupTarget } from "./write-segments.ts";

/** Returns whether there are segments to merge or remove. */
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
