import { type CheckpointStore } from "@cairn/checkpoint";
import { CairnError, isCairnError } from "@cairn/kv";
import { isUnusableSegment, readSegment } from "../segments/read-segment.ts";
import { UnusableSegment } from "../segments/segment.ts";
import { coveredRanges, parseSegmentName, type SegmentFile, type TxRange } from "../segments/segment-name.ts";

/** The segments that this process read completely and need not read again, and the errors of those it cannot read. */
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
      this.#damaged.set(place, unreadable(segment, error));
      return false;
    }
  }

  /** Returns whether to read a segment again would show nothing new. The keys stay those with which the node started. */
  knows(store: CheckpointStore, segment: SegmentFile): boolean {
    const place = placeOf(store, segment);
    return this.#whole.has(place) || isCairnError(this.#damaged.get(place), "KEY_MISSING");
  }

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

/** Returns the error of a segment that cannot be read although others may be. Throws any other error. */
export function unreadable({ name }: Pick<SegmentFile, "name">, error: unknown): CairnError {
  if (isUnusableSegment(error)) return error;
  if (!isCairnError(error, "KEY_MISSING")) throw error;
  const { code, message, hint } = error;
  return new UnusableSegment(name, code, message, { hint, cause: error });
}

/** Returns the transactions in the segments for which, as these errors show, no key fits. */
export function lockedRanges(errors: readonly CairnError[]): TxRange[] {
  return coveredRanges(
    errors.flatMap((error) =>
      error instanceof UnusableSegment && error.code === "KEY_MISSING"
        ? (parseSegmentName(error.file) ?? [])
        : [],
    ),
  );
}

/** Puts one error in place of those of all segments for which no key fits: a rotation may leave many of them. */
export function joinLocked(errors: readonly CairnError[]): CairnError[] {
  const ranges = lockedRanges(errors);
  const [from, to] = [ranges[0], ranges.at(-1)];
  if (from === undefined || to === undefined) return [...errors];
  // The message stays the same while more such segments are found, so that it is reported once.
  const message = `Segments of the log backup, from transaction ${from.first} on, are encrypted with keys that this node does not have, so they cannot be restored.`;
  const hint = `Put the identity with which they were written back into the key file of every node, and restart the nodes. Or, once a checkpoint beyond them is verified, remove them: cairn log backup prune --through ${to.last}`;
  const others = errors.filter(({ code }) => code !== "KEY_MISSING");
  return [...others, new CairnError("KEY_MISSING", message, hint)];
}
