import type { CairnError } from "@cairn/kv";
import { inOrder, type SegmentFile, versionOf } from "../segments/segment-name.ts";
import type { WrittenSegment } from "./write-segments.ts";

/** What a node remembers from one look to the next. */
export interface BackupMemory {
  /** The store's clock less that of this machine (ms), and when the store was asked for it; undefined before that. */
  storeClock: { readonly aheadMs: number; readonly askedAt: number } | undefined;
  /** Segments that cannot be used, by {@link versionOf}, with the reason: they are damaged, or of another history of the log. */
  readonly damaged: Map<string, CairnError>;
  /** When this node looked for segments to remove last, by the store's clock; undefined before that. */
  removedAt?: number;
}

/** Returns whether a segment is known to be unusable. */
export function isDamaged({ damaged }: BackupMemory, segment: SegmentFile): boolean {
  return damaged.has(versionOf(segment));
}

/** Forgets damaged segments that were removed, perhaps written again since. */
export function forgetRemoved({ damaged }: BackupMemory, segments: readonly SegmentFile[]): void {
  const listed = new Set(segments.map(versionOf));
  for (const version of damaged.keys()) if (!listed.has(version)) damaged.delete(version);
}

/** Called with each segment that was written, at once: a later step may fail. */
export type OnWritten = (segment: WrittenSegment, kind: "written" | "merged") => void;

/** What a look has done so far, and what the backup has since. */
export class LookResults {
  readonly written: WrittenSegment[] = [];
  readonly merged: WrittenSegment[] = [];
  readonly removed: string[] = [];
  failure: CairnError | undefined;
  segments: readonly SegmentFile[];
  readonly #onWritten: OnWritten | undefined;

  constructor(segments: readonly SegmentFile[], onWritten: OnWritten | undefined) {
    this.segments = segments;
    this.#onWritten = onWritten;
  }

  add(kind: "written" | "merged", segment: WrittenSegment): void {
    this[kind].push(segment);
    if (!this.segments.some(({ name }) => name === segment.name))
      this.segments = [...this.segments, segment].toSorted(inOrder);
    if (segment.isNew) this.#onWritten?.(segment, kind);
  }

  /** Notes that a segment was removed, perhaps one of an earlier log. */
  remove({ name }: Pick<SegmentFile, "name">): void {
    this.removed.push(name);
    this.segments = this.segments.filter((segment) => segment.name !== name);
  }
}
