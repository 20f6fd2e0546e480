import { type CairnError, isCairnError } from "@cairn/kv";
import type { BackupView } from "../segments/backup-view.ts";
import { type BackupListing, inOrder, type SegmentFile, versionOf } from "../segments/segment-name.ts";
import type { WrittenSegment } from "./write-segments.ts";

export interface BackupMemory {
  /** How far the store's clock is ahead of this machine's, and when it was measured; undefined before that. */
  storeClock: { readonly aheadMs: number; readonly askedAt: number } | undefined;
  /** Keyed by {@link versionOf}. These segments are damaged or belong to a different history of the log. */
  readonly damaged: Map<string, CairnError>;
  /** When this node last searched for segments to remove, by the store's clock; undefined before the first search. */
  removedAt?: number;
  view?: BackupView;
  /** The tag of another node's lease when this node last saw one. */
  lease?: string | undefined;
  /** Whether this node has found that it has the key of the backup, or that the backup is not encrypted. */
  keyFits?: boolean;
}

export function isDamaged({ damaged }: BackupMemory, segment: SegmentFile): boolean {
  return damaged.has(versionOf(segment));
}

/** Forgets damaged segments that have been removed, because they may have been rewritten. */
export function forgetRemoved({ damaged }: BackupMemory, segments: readonly SegmentFile[]): void {
  const listed = new Set(segments.map(versionOf));
  for (const version of damaged.keys()) if (!listed.has(version)) damaged.delete(version);
}

/** Called as soon as a segment is written, because a later step may fail. */
export type OnWritten = (segment: WrittenSegment, kind: "written" | "merged") => void;

/** The results of a look so far, and the resulting content of the backup. */
export class LookResults {
  readonly written: WrittenSegment[] = [];
  readonly merged: WrittenSegment[] = [];
  readonly removed: string[] = [];
  failure: CairnError | undefined;
  segments: readonly SegmentFile[];
  begins: BackupListing["begins"];
  readonly #onWritten: OnWritten | undefined;

  constructor({ segments, begins }: BackupListing, onWritten: OnWritten | undefined) {
    this.segments = segments;
    this.begins = begins;
    this.#onWritten = onWritten;
  }

  add(kind: "written" | "merged", segment: WrittenSegment): void {
    this[kind].push(segment);
    if (!this.segments.some(({ name }) => name === segment.name))
      this.segments = [...this.segments, segment].toSorted(inOrder);
    if (segment.isNew) this.#onWritten?.(segment, kind);
  }

  /** Runs what may fail without invalidating the segments written so far. */
  async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isCairnError(error)) throw error;
      this.failure ??= error;
    }
  }

  /** Records that a segment, possibly of an earlier log, was removed. */
  remove({ name }: Pick<SegmentFile, "name">): void {
    this.removed.push(name);
    this.segments = this.segments.filter((segment) => segment.name !== name);
  }
}
