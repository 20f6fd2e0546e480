import { type CheckpointStore, parseStoredRecord } from "@cairn/checkpoint";
import type { Clock } from "@cairn/kv";
import { z } from "zod";
import {
  backupFolder,
  type BackupListing,
  inOrder,
  listBackup,
  parseSegmentName,
  pointerFile,
  type SegmentFile,
} from "./segment-name.ts";

/** How many of the last segments the pointer names: as many may be written between two looks of a node. */
const NAMED = 32;
/** How long a pointer that changes replaces listings (ms), and how long one that does not, in periods. */
const MAX_LISTING_AGE_MS = 6 * 3_600_000;
const QUIET_PERIODS = 2;
const QUIET_LISTING_PERIODS = 5;

const POINTER = z.object({
  segments: z.array(z.object({ name: z.string(), bytes: z.int().min(0), modifiedAt: z.number() })),
});

/**
 * What one node knows of a backup. A look reads the pointer instead of listing the backup, because a store bills a
 * listing like a dozen reads. The pointer is a hint: if it is missing, unreadable or has not changed for a while, or
 * names no segment that continues the known ones, the backup is listed, and a caller that would change something, or
 * refuse to, because of a hint lists it first.
 */
export class BackupView {
  readonly #store: CheckpointStore;
  readonly #logId: string;
  readonly #every: number;
  readonly #clock: Pick<Clock, "now">;
  #known: BackupListing | undefined;
  #tag: string | undefined;
  #changedAt = -Infinity;
  #listedAt = -Infinity;

  /** `every` is the time between looks (ms). */
  constructor(store: CheckpointStore, logId: string, every: number, clock: Pick<Clock, "now">) {
    this.#store = store;
    this.#logId = logId;
    this.#every = every;
    this.#clock = clock;
  }

  /** When the backup was last listed, by the clock; -Infinity before that. */
  get listedAt(): number {
    return this.#listedAt;
  }

  /** Returns the backup, as far as the pointer shows it if `isHint`. */
  async look(): Promise<{ readonly listing: BackupListing; readonly isHint: boolean }> {
    const now = this.#clock.now();
    const pointer = await this.#store.read(pointerFile(this.#logId));
    const hasChanged = pointer?.tag !== this.#tag;
    if (hasChanged) this.#changedAt = now;
    this.#tag = pointer?.tag;
    const age = Math.abs(now - this.#listedAt);
    const isQuiet = now - this.#changedAt >= QUIET_PERIODS * this.#every;
    const maxAge = isQuiet ? QUIET_LISTING_PERIODS * this.#every : MAX_LISTING_AGE_MS;
    const known = this.#known;
    if (pointer !== undefined && known !== undefined && age < maxAge) {
      const listing = hasChanged ? extended(known, namedSegments(pointer.text, this.#logId)) : known;
      if (listing !== undefined) {
        this.#known = listing;
        return { listing, isHint: true };
      }
    }
    return { listing: await this.list(), isHint: false };
  }

  async list(): Promise<BackupListing> {
    this.#known = await listBackup(this.#store, this.#logId);
    this.#listedAt = this.#clock.now();
    return this.#known;
  }

  /** Names the last of a backup's segments in the pointer, unless another node has done so since the last look. */
  async point(listing: BackupListing, segments: readonly SegmentFile[]): Promise<void> {
    this.#known = { ...listing, segments };
    const newest = segments.toSorted((a, b) => a.last - b.last).slice(-NAMED);
    const named = newest.map(({ name, bytes, modifiedAt }) => ({ name, bytes, modifiedAt }));
    const text = JSON.stringify({ segments: named } satisfies z.infer<typeof POINTER>);
    const file = pointerFile(this.#logId);
    if (this.#tag === undefined) await this.#store.create(file, text);
    else await this.#store.replace(file, text, this.#tag);
  }
}

/** Returns a listing with the named segments; undefined if segments between them and it may be missing. */
function extended(known: BackupListing, named: readonly SegmentFile[]): BackupListing | undefined {
  const names = new Set(known.segments.map(({ name }) => name));
  const last = Math.max(...known.segments.map((segment) => segment.last));
  const isAdjacent = Math.min(...named.map(({ first }) => first)) <= last + 1;
  if (!isAdjacent) return undefined;
  const added = named.filter(({ name }) => !names.has(name));
  return { ...known, segments: [...known.segments, ...added].toSorted(inOrder) };
}

/** Returns none for a pointer that is not understood. */
function namedSegments(text: string, logId: string): SegmentFile[] {
  const named = parseStoredRecord(POINTER, text)?.segments ?? [];
  return named.flatMap((file) => {
    const name = file.name.startsWith(backupFolder(logId)) ? parseSegmentName(file.name) : undefined;
    return name === undefined ? [] : [{ ...name, ...file }];
  });
}
