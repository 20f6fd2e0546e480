import type { CheckpointStore } from "@cairn/checkpoint";
import { type Clock, systemClock, CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogBounds, LogMessage, LogReadOptions, TxLog } from "../log/tx-log.ts";
import type { BirthRecord } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import {
  differentHistories,
  holdsEnd,
  segmentPlace,
  requireContinuation,
  type SegmentPlace,
} from "./segments/continuation.ts";
import { SegmentBuffers } from "./segments/segment-buffers.ts";
import { isUnusableSegment, readSegment, requireKey, UNUSABLE_SEGMENT } from "./segments/read-segment.ts";
import { inLogTerms, readOnly } from "./backup-errors.ts";
import { corruptSegment, type Segment, type SegmentHeader } from "./segments/segment.ts";
import { BackupView } from "./segments/backup-view.ts";
import {
  backupFolder,
  coveredRanges,
  newestOf,
  type SegmentFile,
  segmentsWith,
  versionOf,
} from "./segments/segment-name.ts";

interface BackupLogOptions {
  readonly store: CheckpointStore;
  readonly logId: string;
  /**
   * How often a node that follows the backup looks at the store (ms): it reads the pointer. Without it, the backup is
   * listed, at most once per second.
   */
  readonly every?: number;
  /** Whether the other logs with a backup are of interest too: {@link BackupView.logs}. */
  readonly isOfAllLogs?: boolean;
  /** If present, the backup is read as if it ended with this transaction; later segments and holes are ignored. */
  readonly endsWith?: TxId;
  readonly clock?: Clock;
}

/** The maximum age of a listing that is reused. A join makes many calls and must not list the store for each of them. */
const LISTING_MS = 1_000;
/** How old a look of a node that follows the backup may be, in periods, before a call looks again: reading looks too. */
const LOOK_PERIODS = 2;

/**
 * A log read from its backup in a checkpoint store. An unusable segment is skipped if another one holds its
 * transactions; else its error ({@link isUnusableSegment}) is thrown before any of its messages is returned. A read that
 * would mix two histories throws `LOG_REGRESSED`.
 */
export class BackupLog implements TxLog {
  readonly maxPayload = 0;
  readonly #options: BackupLogOptions;
  readonly #closed = new AbortController();
  /** The errors of unusable segments, by {@link versionOf}. */
  readonly #damaged = new Map<string, CairnError>();
  /** The errors of segments whose key was dropped in a rotation, by {@link versionOf}: they count as removed. */
  readonly locked = new Map<string, CairnError>();
  readonly view: BackupView;
  readonly #clock: Clock;
  #seen: { readonly segments: readonly SegmentFile[]; readonly at: number } | undefined;
  /** The segments of a listing that was made because there seemed to be a hole. */
  #holed: readonly SegmentFile[] | undefined;
  #log: SegmentHeader["log"] | undefined;
  #fetched: Segment | undefined;
  /**
   * The transaction for which a reader at the end of the backup waits. Until it has loaded the segment, the log ends
   * before it: whoever follows the log would take the time for silence, and load the segment and the one before again.
   */
  #awaited: TxId | undefined;
  /** The last message that was read, which followers compare again and again. */
  #tip: { readonly txId: TxId; readonly end: string; readonly message: LogMessage } | undefined;

  constructor(options: BackupLogOptions) {
    this.#options = options;
    const { store, logId, every = LISTING_MS, clock = systemClock } = options;
    this.#clock = clock;
    this.view = new BackupView({ ...options, store, logId, every, clock });
  }

  /** The name of the log once a segment has been read; until then, the folder of its backup. */
  get name(): string {
    return this.#log?.name ?? backupFolder(this.#options.logId).slice(0, -1);
  }

  /** When the newest segment was written, by the store's clock; undefined before the first listing. */
  get newestAt(): number | undefined {
    return newestOf(this.#seen?.segments ?? []);
  }

  async id(): Promise<string | undefined> {
    return (await this.exists()) ? this.#options.logId : undefined;
  }

  async exists(): Promise<boolean> {
    return (await this.segments()).length > 0;
  }

  async create(): Promise<void> {
    if (!(await this.exists())) throw readOnly(this.#options.store.location);
  }

  append(): Promise<never> {
    return Promise.reject(readOnly(this.#options.store.location));
  }

  async bounds(): Promise<LogBounds> {
    const offset = (await this.offset()) ?? 0;
    let segments = await this.#segments();
    // A pointer may not name a segment that fills a hole, and a listing may miss one that was merged meanwhile.
    if (segments !== this.#holed && coveredRanges(segments).length > 1)
      segments = this.#holed = await this.#segments("list");
    const { endsWith = Infinity } = this.#options;
    const run = coveredRanges(segments).findLast(({ first }) => first <= endsWith);
    if (run === undefined) throw this.#unreachable("It has no segments yet.");
    const last = Math.min(run.last, endsWith, (this.#awaited ?? Infinity) - 1);
    return { first: run.first - offset, last: last - offset };
  }

  /** Returns the offset from positions to transaction ids, as recorded in each segment; undefined without segments. */
  async offset(): Promise<number | undefined> {
    const segments = await this.#segments();
    return segments.length === 0 ? undefined : (await this.#identity(segments)).offset;
  }

  /** Returns the log's birth record; undefined if the backup no longer has it. */
  async birth(): Promise<BirthRecord | undefined> {
    const first = await this.fetch(1);
    const decoded = first === undefined ? undefined : decodeMessage(first.payload);
    return decoded?.kind === "birth" ? decoded.birth : undefined;
  }

  async contents(): Promise<string> {
    return (await this.segments()).map(versionOf).join("\n");
  }

  /** Returns what it holds, without the segments whose key was dropped, as far as they were found. */
  segments = async (): Promise<readonly SegmentFile[]> => await this.#segments();

  /** Returns the first position of the unbroken run with `position`, if any. Damaged segments count as holes. */
  async beginningOf(position: number): Promise<number | undefined> {
    const offset = await this.offset();
    if (offset === undefined) return undefined;
    const txId = position + offset;
    const usable = (await this.#segments()).filter((segment) => !this.#damaged.has(versionOf(segment)));
    const range = coveredRanges(usable).find((one) => one.first <= txId && txId <= one.last);
    return range === undefined ? undefined : range.first - offset;
  }

  async fetch(position: number): Promise<LogMessage | undefined> {
    const segments = await this.#segments();
    if (segments.length === 0 || position < 1) return undefined;
    const txId = position + (await this.#identity(segments)).offset;
    if (this.#tip?.txId === txId) return this.#tip.message;
    const { first = Infinity, last = 0 } = this.#fetched?.header ?? {};
    const segment = first <= txId && txId <= last ? this.#fetched : await this.#load(txId, undefined);
    if (segment === undefined) return undefined;
    this.#fetched = segment;
    // The message is copied, because a read in progress may release the segment.
    return segment.messages.copy(txId);
  }

  /** As the segment that begins with `position` records it. */
  async before(position: number): Promise<string | undefined> {
    const segments = await this.#segments();
    const txId = position + (await this.#identity(segments)).offset;
    const { first, before } = (await this.#load(txId, undefined))?.header ?? {};
    return first === txId ? (before ?? undefined) : undefined;
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    const segments = await this.#segments();
    if (segments.length === 0) throw this.#unreachable("It has no segments yet.");
    const { offset } = await this.#identity(segments);
    let next = from + offset;
    let before: SegmentPlace | undefined;
    const buffers = new SegmentBuffers();
    const ahead = new Map<TxId, Promise<Segment | undefined>>();
    const loading = (txId: TxId): Promise<Segment | undefined> => {
      const segment = ahead.get(txId) ?? this.#load(txId, signal, buffers);
      ahead.set(txId, segment);
      // If the reader stops early, the prefetched segment is never awaited.
      segment.catch(() => undefined);
      return segment;
    };
    const following = async ({ header: { last } }: Segment): Promise<Segment | undefined> => {
      const listed = this.#seen?.segments ?? (await this.#segments());
      return segmentsWith(listed, last + 1).length > 0 ? await loading(last + 1) : undefined;
    };
    while (!signal.aborted) {
      let segment: Segment | undefined;
      try {
        segment = await loading(next);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      } finally {
        this.#awaited = undefined;
      }
      ahead.delete(next);
      if (segment !== undefined && before !== undefined) requireContinuation(before, segment);
      if (segment === undefined) {
        // A pointer does not name a segment that fills a hole.
        const isHole = (await this.#segments()).some(({ first }) => first > next);
        const listed = await this.#segments(isHole ? "list" : "known");
        if (isHole && segmentsWith(listed, next).length > 0) continue;
        const beyond = listed.find(({ first }) => first > next);
        // The caller compares positions and therefore detects the hole.
        if (beyond !== undefined) [next, before] = [beyond.first, undefined];
        else if (!listed.some(({ last }) => last === next - 1)) return;
        else await this.#waitForMore(next, signal);
        continue;
      }
      // If the next segment is unreadable, this one's messages are still returned: it is read again when needed. If it
      // belongs to a different history, they are not.
      const successor = await following(segment).catch((error: unknown) => {
        if (isCairnError(error, "LOG_REGRESSED")) throw error;
      });
      if (successor === undefined) ahead.clear();
      else requireContinuation(segmentPlace(segment), successor);
      if (signal.aborted) return;
      this.#fetched = segment;
      yield* segment.messages.copies(next, options);
      before = segmentPlace(segment);
      const message = segment.messages.copy(before.last);
      this.#tip = message && { txId: before.last, end: before.end, message };
      if (this.#fetched === segment) this.#fetched = undefined;
      segment.release();
      next = before.last + 1;
    }
  }

  close(): Promise<void> {
    this.#closed.abort();
    return Promise.resolve();
  }

  /**
   * Returns a segment with a transaction, if any. Throws the error of one if all are unusable, and `LOG_REGRESSED` if
   * intact ones differ there, as only the log shows which is right.
   */
  async #load(
    txId: TxId,
    signal: AbortSignal | undefined,
    buffers?: SegmentBuffers,
  ): Promise<Segment | undefined> {
    const segment = await this.#loadUnchecked(txId, signal, buffers);
    if (segment === undefined) return undefined;
    const { first, last } = segment.header;
    // Their names show another last message than this segment has at that position.
    const contradicting = (await this.#segments()).filter(
      (one) => first <= one.last && one.last <= last && !holdsEnd(segment, one),
    );
    for (const file of contradicting) {
      const other = await unlessFailed(this.#readUsable(file, signal), UNUSABLE_SEGMENT, undefined);
      if (other !== undefined)
        throw differentHistories(segmentPlace(segment), segmentPlace(other), file.last);
    }
    return segment;
  }

  async #loadUnchecked(
    txId: TxId,
    signal: AbortSignal | undefined,
    buffers: SegmentBuffers | undefined,
  ): Promise<Segment | undefined> {
    let damage: CairnError | undefined;
    // A segment that is gone may have been merged into another one, which the pointer need not name. A node that follows
    // the backup has just looked for a segment that is not there yet, and one whose key was dropped was found.
    let isGone = false;
    let isLocked = false;
    for (const by of ["known", "list"] as const) {
      if (by === "list" && !isGone && (isLocked || this.#options.every !== undefined)) break;
      damage = undefined;
      for (const file of segmentsWith(await this.#segments(by), txId)) {
        try {
          const segment = await this.#readUsable(file, signal, buffers);
          if (segment === undefined) {
            const wasDropped = this.locked.has(versionOf(file));
            isLocked ||= wasDropped;
            isGone ||= !wasDropped;
            if (by === "list" && !wasDropped)
              damage = corruptSegment(file.name, "the store lists it, but does not have it");
            continue;
          }
          return segment;
        } catch (error) {
          if (!isUnusableSegment(error)) throw error;
          damage = error;
        }
      }
    }
    if (damage !== undefined) throw damage;
    return undefined;
  }

  /** Returns a segment; undefined if it was removed, or its key was. An unusable one is not read again. */
  async #readUsable(
    file: SegmentFile,
    signal: AbortSignal | undefined,
    buffers?: SegmentBuffers,
  ): Promise<Segment | undefined> {
    const known = this.#damaged.get(versionOf(file));
    if (known !== undefined) throw known;
    try {
      const segment = await inLogTerms(readSegment(this.#options.store, file, signal, buffers));
      if (segment === undefined) return undefined;
      this.#log ??= segment.header.log;
      if (segment.header.log.offset !== this.#log.offset)
        throw corruptSegment(file.name, "its offset differs from the offset of the other segments");
      return segment;
    } catch (error) {
      if (isCairnError(error, "KEY_MISSING")) return await this.#lock(file, error, signal);
      if (isUnusableSegment(error)) this.#damaged.set(versionOf(file), error);
      throw error;
    }
  }

  /** Passes over a segment from now on. Throws `missing` unless the keys are shown to be those of the backup. */
  async #lock(file: SegmentFile, missing: CairnError, signal: AbortSignal | undefined): Promise<undefined> {
    const seen = this.#seen;
    const segments = seen?.segments ?? [file];
    const fits = (): Promise<boolean> => inLogTerms(requireKey(this.#options.store, segments, signal));
    if (this.locked.size === 0 && !(await fits())) throw missing;
    this.locked.set(versionOf(file), missing);
    if (seen !== undefined) this.#seen = { ...seen, segments: this.#unlocked(seen.segments) };
    return undefined;
  }

  #unlocked(segments: readonly SegmentFile[]): readonly SegmentFile[] {
    return this.locked.size === 0 ? segments : segments.filter((one) => !this.locked.has(versionOf(one)));
  }

  async #identity(segments: readonly SegmentFile[]): Promise<SegmentHeader["log"]> {
    let damage: unknown;
    for (const { first } of segments) {
      if (this.#log !== undefined) return this.#log;
      try {
        this.#fetched = await this.#load(first, undefined);
      } catch (error) {
        // Two segments contradict each other, which reading reports; the logs of both have this name and offset.
        if (this.#log !== undefined && isCairnError(error, "LOG_REGRESSED")) return this.#log;
        if (!isUnusableSegment(error)) throw error;
        damage ??= error;
      }
    }
    if (this.#log !== undefined) return this.#log;
    throw damage ?? this.#unreachable("Its segments have just been removed.");
  }

  /** `known` are at most as old as a look or a listing may be; a reader's `look` may be a hint. */
  async #segments(by: "known" | "look" | "list" = "known"): Promise<readonly SegmentFile[]> {
    if (this.#closed.signal.aborted) throw this.#unreachable("It was closed.");
    const { every } = this.#options;
    const seen = this.#seen;
    const maxAge = every === undefined ? LISTING_MS : LOOK_PERIODS * every;
    const at = this.#clock.now();
    if (by === "known" && seen !== undefined && Math.abs(at - seen.at) < maxAge) return seen.segments;
    const isListed = every === undefined || by === "list";
    // A damaged segment is replaced once somebody has removed it, which no pointer shows.
    const mustList = this.#damaged.size > 0;
    const asked = isListed ? this.view.list() : this.view.look(mustList).then(({ listing }) => listing);
    const segments = this.#unlocked((await inLogTerms(asked)).segments);
    this.#seen = { segments, at };
    const names = new Set(segments.map(({ name }) => name));
    // A removed segment must not be compared with the remaining ones.
    const tip = this.#tip;
    if (!segments.some(({ last, end }) => last === tip?.txId && tip.end.startsWith(end)))
      this.#tip = undefined;
    if (this.#fetched !== undefined && !names.has(this.#fetched.file)) this.#fetched = undefined;
    // A segment that has been rewritten or replaced with a copy is tried again.
    const versions = new Set(segments.map(versionOf));
    for (const version of this.#damaged.keys()) if (!versions.has(version)) this.#damaged.delete(version);
    return segments;
  }

  async #waitForMore(txId: TxId, signal: AbortSignal): Promise<void> {
    const { every = LISTING_MS } = this.#options;
    this.#awaited = txId;
    let isThere = false;
    try {
      while (!isThere && (await this.#clock.wait(every, signal)))
        isThere = (await this.#segments("look")).some(({ last }) => last >= txId);
    } finally {
      if (!isThere) this.#awaited = undefined;
    }
  }

  #unreachable(why: string): CairnError {
    const { store, logId } = this.#options;
    return new CairnError(
      "LOG_UNREACHABLE",
      `The backup of the log ${logId} in ${store.location} cannot be read: ${why}`,
      'Make sure that a node with "log-backup" in its checkpointer is running. cairn log backup status shows the backup.',
    );
  }
}
