import { type CheckpointStore } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import { isUnusableSegment, readSegment } from "../segments/read-segment.ts";
import type { SegmentFile } from "../segments/segment-name.ts";

/** The segments that this process read completely and need not read again, and the errors of damaged ones. */
export class SegmentReads {
  readonly #whole = new Set<string>();
  readonly #damaged = new Map<string, CairnError>();

  get damage(): CairnError[] {
    return [...this.#damaged.values()];
  }

  /** Returns whether a segment is there and intact. Reads it unless it was found intact. Throws the store's errors. */
  async isWhole(store: CheckpointStore, segment: SegmentFile, signal?: AbortSignal): Promise<boolean> {
    const place = placeOf(store, segment);
    if (this.#whole.has(place)) return true;
    try {
      if ((await readSegment(store, segment, signal)) === undefined) return false;
      this.#whole.add(place);
      this.#damaged.delete(place);
      return true;
    } catch (error) {
      if (!isUnusableSegment(error)) throw error;
      this.#damaged.set(place, error);
      return false;
    }
  }

  /** Returns whether a segment has been read before and was intact. */
  knows(store: CheckpointStore, segment: SegmentFile): boolean {
    return this.#whole.has(placeOf(store, segment));
  }

  /** Forgets the segments of a store that are no longer listed. */
  listed(store: CheckpointStore, segments: readonly SegmentFile[]): void {
    const places = new Set(segments.map((segment) => placeOf(store, segment)));
    const prefix = placeOf(store, { name: "" });
    for (const known of [this.#whole, this.#damaged]) {
      for (const place of known.keys()) {
        if (place.startsWith(prefix) && !places.has(place)) known.delete(place);
      }
    }
  }
}

function placeOf(store: CheckpointStore, { name }: { readonly name: string }): string {
  return `${store.identity ?? store.location}\n${name}`;
}
