import { type CheckpointStore, parseStoredRecord } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import type { Clock } from "@cairn/kv";
import { z } from "zod";
import {
  backupFolder,
  type BackupListing,
  BACKUPS,
  coveredRanges,
  inOrder,
  lastSegment,
  listBackup,
  missingIn,
  parseSegmentName,
  pointerFile,
  type SegmentFile,
} from "./segment-name.ts";

/** How many of the last segments the pointer names: as many may be written between two looks of a node. */
const NAMED = 32;
/**
 * The age at which a listing is made again: first in periods and, doubled by each listing in which the pointer proved
 * right, at most in ms.
 */
const FIRST_LISTING_PERIODS = 5;
const MAX_LISTING_AGE_MS = 6 * 3_600_000;

const POINTER = z.object({
  segments: z.array(z.object({ name: z.string(), bytes: z.int().min(0), modifiedAt: z.number() })),
  /** The last transaction that the backup has held, if that is after these segments: its end is missing. */
  reached: z.int().min(0).optional(),
  /** The id of a log that replaces this one, whose nodes therefore no longer write this backup. */
  replacedBy: z.string().optional(),
});
type Pointer = z.infer<typeof POINTER>;

interface FoundPointer {
  readonly tag?: string | undefined;
  /** None if the pointer is not understood. */
  readonly named: readonly SegmentFile[];
  /** The last transaction that the backup should hold according to the pointer; 0 if it names none. */
  readonly reached: TxId;
  readonly replacedBy?: string | undefined;
}

interface BackupViewOptions {
  readonly store: CheckpointStore;
  readonly logId: string;
  /** The time between looks (ms). */
  readonly every: number;
  readonly clock: Pick<Clock, "now">;
  /** Whether a listing shows the other logs with a backup as well. */
  readonly isOfAllLogs?: boolean;
}

interface PointOptions {
  readonly replaced?: readonly string[] | undefined;
  /** Whether the end of the backup was removed on purpose. */
  readonly isShortened?: boolean;
}

/**
 * What one node knows of a backup. A look reads the pointer instead of listing the backup, because a store bills a
 * listing like a dozen reads. The pointer is a hint: if it is missing or unreadable, contradicts what is known, says
 * that another log replaces this one, or has not been compared with a listing for long, the backup is listed, and a
 * caller that would change something, or refuse to, because of a hint lists it first.
 */
export class BackupView {
  readonly #options: BackupViewOptions;
  #known: BackupListing | undefined;
  #pointer: FoundPointer = { named: [], reached: 0 };
  #maxAge: number;
  #listedAt = -Infinity;
  /** The ids of the logs with a backup, when it was last listed; undefined before that, or if only one was listed. */
  logs: readonly string[] | undefined;
  /** Whether the pointer did not name the end of the backup when this was last listed, and has not changed since. */
  isBehind = false;

  constructor(options: BackupViewOptions) {
    this.#options = options;
    this.#maxAge = this.#firstAge;
  }

  /** The id of a log that replaces this one, if the pointer that was last read names one. */
  get replacedBy(): string | undefined {
    return this.#pointer.replacedBy;
  }

  get reached(): TxId {
    return this.#pointer.reached;
  }

  /** Returns the backup, as far as the pointer shows it if `isHint`, which it is not if it must be listed. */
  async look(mustList = false): Promise<{ readonly listing: BackupListing; readonly isHint: boolean }> {
    const before = this.#pointer;
    const pointer = await readPointer(this.#options.store, this.#options.logId);
    const isSame = pointer.tag === before.tag;
    const age = Math.abs(this.#options.clock.now() - this.#listedAt);
    const isUsable =
      pointer.tag !== undefined && pointer.replacedBy === before.replacedBy && age < this.#maxAge;
    const hinted = isSame || this.#known === undefined ? this.#known : extended(this.#known, pointer.named);
    this.#pointer = pointer;
    // If the listing fails, the next look makes it.
    this.#known = isUsable && !mustList ? hinted : undefined;
    if (this.#known !== undefined) {
      if (!isSame) this.isBehind = false;
      return { listing: this.#known, isHint: true };
    }
    const listing = await this.list();
    this.#maxAge = this.isBehind ? this.#firstAge : Math.min(MAX_LISTING_AGE_MS, 2 * this.#maxAge);
    return { listing, isHint: false };
  }

  async list(): Promise<BackupListing> {
    const { store, logId, clock, isOfAllLogs = false } = this.#options;
    const listing = await listBackup(store, logId, isOfAllLogs ? BACKUPS : undefined);
    if (isOfAllLogs) this.logs = listing.logs;
    this.#known = listing;
    this.#listedAt = clock.now();
    const end = lastSegment(listing.segments);
    this.isBehind = end !== undefined && !isEnd(end, this.#pointer.named);
    return listing;
  }

  /**
   * Names the last of a backup's segments in the pointer, unless another node has done so since the last look. If there
   * is no pointer, it first tells the readers of the logs `replaced` that this log replaces them.
   */
  async point(
    listing: BackupListing,
    segments: readonly SegmentFile[],
    { replaced = [], isShortened = false }: PointOptions = {},
  ): Promise<void> {
    const { store, logId } = this.#options;
    // If this fails, the next look lists the backup, and then names its end.
    this.#known = undefined;
    const { tag, reached } = this.#pointer;
    const newest = segments.toSorted((a, b) => a.last - b.last).slice(-NAMED);
    const named = newest.map(({ name, bytes, modifiedAt }) => ({ name, bytes, modifiedAt }));
    const isMissing = !isShortened && reached > (newest.at(-1)?.last ?? 0);
    const text = JSON.stringify({ segments: named, ...(isMissing && { reached }) } satisfies Pointer);
    const file = pointerFile(logId);
    if (tag === undefined) {
      for (const id of replaced) await this.#markReplaced(id);
      await store.create(file, text);
    } else await store.replace(file, text, tag);
    this.#known = { ...listing, segments };
    this.isBehind = false;
  }

  async #markReplaced(id: string): Promise<void> {
    const { store, logId } = this.#options;
    const file = pointerFile(id);
    const found = await store.read(file);
    const pointer = found && parseStoredRecord(POINTER, found.text);
    if (found === undefined || pointer === undefined || pointer.replacedBy === logId) return;
    await store.replace(file, JSON.stringify({ ...pointer, replacedBy: logId } satisfies Pointer), found.tag);
  }

  get #firstAge(): number {
    return Math.min(MAX_LISTING_AGE_MS, FIRST_LISTING_PERIODS * this.#options.every);
  }
}

async function readPointer(store: CheckpointStore, logId: string): Promise<FoundPointer> {
  const found = await store.read(pointerFile(logId));
  const { segments = [], replacedBy, reached = 0 } = (found && parseStoredRecord(POINTER, found.text)) ?? {};
  const named = segments.flatMap((file) => {
    const name = file.name.startsWith(backupFolder(logId)) ? parseSegmentName(file.name) : undefined;
    return name === undefined ? [] : [{ ...name, ...file }];
  });
  return { tag: found?.tag, named, reached: Math.max(reached, lastSegment(named)?.last ?? 0), replacedBy };
}

/**
 * Returns the last transaction that a backup should hold according to its pointer; 0 if it names none. Asked before the
 * backup is listed, because a node may write more in between.
 */
export async function reachedBy(store: CheckpointStore, logId: string): Promise<TxId> {
  return (await readPointer(store, logId)).reached;
}

/**
 * Returns the log that replaces a log, as the pointers of backups name it: they do even if the segments that would show it
 * were removed. Undefined if none does.
 */
export async function replacedByPointer(
  stores: readonly CheckpointStore[],
  logId: string,
): Promise<string | undefined> {
  const line = [logId];
  for (const id of line) {
    for (const store of stores) {
      const { replacedBy } = await readPointer(store, id);
      if (replacedBy !== undefined && !line.includes(replacedBy)) line.push(replacedBy);
    }
  }
  return line.length === 1 ? undefined : line.at(-1);
}

/** Returns a listing with the named segments; undefined if they contradict it, or if some between may be missing. */
function extended(known: BackupListing, named: readonly SegmentFile[]): BackupListing | undefined {
  const [end, namedEnd] = [lastSegment(known.segments), lastSegment(named)];
  if (end === undefined || namedEnd === undefined) return undefined;
  const isAdjacent = Math.min(...named.map(({ first }) => first)) <= end.last + 1;
  if (!isAdjacent || (namedEnd.last <= end.last && !isEnd(end, named))) return undefined;
  // What would be among the named segments, but is not, was merged or removed.
  const from = named.length < NAMED ? 0 : Math.min(...named.map(({ last }) => last));
  const before = known.segments.filter(({ last }) => last < from);
  const segments = [...before, ...named].toSorted(inOrder);
  // Only a listing shows whether a removal was recorded.
  const range = { first: known.segments[0]?.first ?? 1, last: end.last };
  const isMissing =
    missingIn(coveredRanges(segments), range).count > missingIn(coveredRanges(known.segments), range).count;
  return isMissing ? undefined : { ...known, segments };
}

/** Returns whether the last of the named segments ends as a segment does. */
function isEnd({ last, end }: SegmentFile, named: readonly SegmentFile[]): boolean {
  return lastSegment(named)?.last === last && named.some((one) => one.last === last && one.end === end);
}
