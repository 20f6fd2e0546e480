import { type CheckpointStore, firstLookDelay, nextLookDelay, retryDelay } from "@cairn/checkpoint";
import { type Clock, systemClock, systemRandom, type CairnError, isCairnError } from "@cairn/kv";
import type { LogBackupStatus, TxId } from "@cairn/client";
import type { TxLog } from "../../log/tx-log.ts";
import { type BackupLook, lookAtBackup } from "./backup-look.ts";
import { missingInBackup } from "./verify-backup.ts";
import type { EventDispatcher, WorkRun } from "../../observe/event-dispatcher.ts";
import { asCairnError, asFailure, asWarning } from "../../observe/failures.ts";
import type { BackupMemory } from "./look-results.ts";
import type { RemovalRules } from "./expire-segments.ts";
import { gapsIn, listBackup, missingIn } from "../segments/segment-name.ts";
import { joinLocked, lockedRanges, SegmentReads } from "./segment-reads.ts";
import type { SegmentCodec, SegmentHeader } from "../segments/segment.ts";
import { type BirthRecord, obsoleteLogs } from "../../transactions/birth-record.ts";
import { type BackupTarget, SEGMENT_BYTES, SEGMENT_MESSAGES } from "./write-segments.ts";

export interface LogBackupOptions {
  /** The approximate interval at which the cluster writes a segment (ms). */
  readonly every: number;
  /** The age up to which segments are kept (ms); "all" keeps every segment. */
  readonly keep: number | "all";
  readonly codec: SegmentCodec;
}

/** The dependencies of a {@link LogBackup}. The clock and the source of randomness default to those of the machine. */
interface LogBackupParts {
  readonly store: CheckpointStore;
  readonly log: TxLog;
  readonly of: SegmentHeader["log"];
  readonly node: string;
  readonly options: LogBackupOptions;
  readonly checksumAt?: BackupTarget["checksumAt"];
  /** See {@link RemovalRules}. If absent, no segment is removed because of its age. */
  readonly verifiedUpTo?: RemovalRules["verifiedUpTo"];
  readonly earlier?: RemovalRules["earlier"];
  readonly birth?: BirthRecord | undefined;
  /** The segments that this node has read. Defaults to those that this backup reads. */
  readonly reads?: SegmentReads;
  /** Called for each damaged segment that {@link LogBackup.readAll} finds, and each hole that the log cannot fill. */
  readonly onFinding?: (error: CairnError) => void;
  readonly onLook?: (look: BackupLook) => void;
  readonly onError?: (error: CairnError) => void;
  readonly events?: Pick<EventDispatcher, "begin">;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** A node's knowledge of the backup. Times are in ISO 8601 format, by this machine's clock. */
interface State {
  /** The result of the last successful look; null before the first one. */
  readonly look: BackupLook | null;
  readonly lookedAt: string | null;
  readonly nextLookAt: string | null;
  /** The time up to which the backup contains everything that the log held; null while unknown. */
  readonly coveredUntil: string | null;
  readonly error: CairnError | undefined;
  /** The time of the first failed look since the last one without an error, if there is an error. */
  readonly failingSince: string;
  /** The number of failed looks since the last successful one. */
  readonly failures: number;
}

/** The maximum number of runs of transactions in the status. A backup has only one, unless it has holes. */
const REPORTED_RANGES = 10;
/** The bounds of a look's random delay once a segment is full (part of the period; ms), which spreads nodes. */
const HURRY_PART = 0.1;
const MAX_HURRY_MS = 5_000;
/** The maximum share of time spent reading segments to verify them. */
const MAX_READ_SHARE = 0.1;

/**
 * Keeps a log's backup up to date without a coordinator: each node looks 0.9 to 1.1 periods after the newest segment
 * was written, or earlier if enough was applied to fill one; the first to look writes.
 */
export class LogBackup {
  readonly #parts: LogBackupParts;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #memory: BackupMemory = { storeClock: undefined, damaged: new Map() };
  #state: State = {
    look: null,
    lookedAt: null,
    nextLookAt: null,
    coveredUntil: null,
    error: undefined,
    failingSince: "",
    failures: 0,
  };
  #running: Promise<void> = Promise.resolve();
  #written = { segments: 0, bytes: 0 };
  readonly #reads: SegmentReads;
  readonly #reported = new Set<string>();
  #applied = { bytes: 0, transactions: 0 };
  /** When counting began, by this machine's clock (ms). */
  #countedSince = 0;
  #hurry = new AbortController();

  constructor(parts: LogBackupParts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? systemClock;
    this.#random = parts.random ?? systemRandom;
    this.#reads = parts.reads ?? new SegmentReads();
  }

  status(txId: TxId): LogBackupStatus {
    const { store, options } = this.#parts;
    const { look, lookedAt, nextLookAt, coveredUntil, error, failingSince: since, failures } = this.#state;
    // If the log may have lost its end, no backup holds the new messages in its place, whatever their numbers suggest.
    const isKnown = look !== null && !isLost(error);
    const transactions = isKnown ? missingIn(look.covered, { first: look.logBegin, last: txId }).count : null;
    return {
      location: store.location,
      everyMs: options.every,
      covered: look?.covered.slice(-REPORTED_RANGES) ?? null,
      segments: look?.segments ?? null,
      bytes: look?.bytes ?? null,
      exposed: { transactions, since: transactions === 0 ? null : coveredUntil },
      lastLookAt: lookedAt,
      nextLookAt,
      failedLooks: failures,
      written: this.#written,
      warnings: this.#findings().map(asWarning),
      lastFailure: error === undefined ? null : { ...asFailure(error), since },
    };
  }

  /** Reads segments not yet found intact, at a limited rate; {@link status} warns of damage. Throws store errors. */
  async readAll(signal: AbortSignal): Promise<void> {
    const { store, of } = this.#parts;
    const { segments } = await listBackup(store, of.id);
    this.#reads.listed(store, segments);
    for (const segment of segments) {
      if (this.#reads.knows(store, segment)) continue;
      if (signal.aborted) return;
      const begunAt = this.#clock.now();
      await this.#reads.isWhole(store, segment, signal);
      this.#report();
      await this.#clock.wait((this.#clock.now() - begunAt) * (1 / MAX_READ_SHARE - 1), signal);
    }
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  applied({ bytes, transactions }: { readonly bytes: number; readonly transactions: number }): void {
    this.#applied.bytes += bytes;
    this.#applied.transactions += transactions;
    if (this.#applied.bytes >= SEGMENT_BYTES || this.#applied.transactions >= SEGMENT_MESSAGES)
      this.#hurry.abort();
  }

  async #run(): Promise<void> {
    const { every } = this.#parts.options;
    const { signal } = this.#stop;
    let delay = firstLookDelay(every, this.#random());
    while (!signal.aborted) {
      this.#state = { ...this.#state, nextLookAt: this.#iso(delay) };
      const isMuch = await this.#wait(delay);
      if (signal.aborted) return;
      try {
        delay = await this.#look(isMuch);
      } catch (error) {
        if (signal.aborted) return;
        const failure = asCairnError(error);
        const failures = this.#state.failures + 1;
        this.#state = { ...this.#state, ...this.#failed(failure), failures };
        this.#parts.onError?.(failure);
        delay = retryDelay(every, failures, this.#random());
      }
    }
  }

  /** Waits until a look is due. Returns true if it is due because enough was applied to fill a segment. */
  async #wait(delay: number): Promise<boolean> {
    const { signal } = this.#stop;
    if (await this.#clock.wait(delay, AbortSignal.any([signal, this.#hurry.signal]))) return false;
    const { every } = this.#parts.options;
    await this.#clock.wait(this.#random() * Math.min(every * HURRY_PART, MAX_HURRY_MS), signal);
    return true;
  }

  /** Performs one look. Returns the time until the next one (ms). */
  async #look(isMuch: boolean): Promise<number> {
    const { options, onLook, onError, verifiedUpTo, earlier, events } = this.#parts;
    const { every, codec, keep } = options;
    const muchSince = isMuch ? this.#countedSince : undefined;
    this.#countedSince = this.#clock.now();
    this.#applied = { bytes: 0, transactions: 0 };
    this.#hurry = new AbortController();
    const lookedAt = this.#iso(0);
    let run: WorkRun<"backup"> | undefined;
    let moved = 0;
    let look: BackupLook;
    try {
      look = await lookAtBackup({
        ...this.#parts,
        codec,
        every,
        muchSince,
        replaced: obsoleteLogs(this.#parts.birth),
        removal: keep === "all" || verifiedUpTo === undefined ? undefined : { keep, verifiedUpTo, earlier },
        memory: this.#memory,
        hadSegments: (this.#state.look?.segments ?? 0) > 0 && !isLost(this.#state.error),
        isDamaged: this.#reads.damage.length > 0 || this.#lost().length > 0,
        clock: this.#clock,
        signal: this.#stop.signal,
        onBegun: () => {
          run = events?.begin("backup");
        },
        onWritten: ({ bytes }, kind) => {
          moved += bytes;
          run?.moved(moved);
          if (kind === "merged") return;
          this.#written = { segments: this.#written.segments + 1, bytes: this.#written.bytes + bytes };
        },
      });
    } catch (error) {
      if (!this.#stop.signal.aborted) run ??= events?.begin("backup");
      run?.failed(error);
      throw error;
    }
    // The first successful look after failures is reported even without work: it shows that the failure is over.
    if (this.#state.failures > 0) run ??= events?.begin("backup");
    // If others write, each look of this node may find the backup behind, so the oldest missing message decides. The
    // log's clock may be wrong.
    const { exposedSince = Infinity, failure } = look;
    const until = new Date(Math.min(exposedSince, Date.parse(lookedAt))).toISOString();
    const known = this.#state.coveredUntil ?? until;
    // A later time was measured by a clock that was ahead, and has been corrected.
    const coveredUntil = known > until && known <= lookedAt ? known : until;
    this.#state = { look, lookedAt, nextLookAt: null, coveredUntil, failures: 0, ...this.#failed(failure) };
    this.#report();
    onLook?.(look);
    report(run, look);
    if (look.failure !== undefined) onError?.(look.failure);
    return nextLookDelay({
      approxFrequency: every,
      newestTakenAt: look.newestAt,
      storeNow: look.storeNow,
      leased: look.skipped === "leased",
      random: this.#random(),
    });
  }

  /** The errors of segments that looks and drills could not read. */
  get #unreadable(): CairnError[] {
    return [...this.#memory.damaged.values(), ...this.#reads.damage];
  }

  #findings(): CairnError[] {
    const found = [...joinLocked(this.#unreadable), ...this.#lost()];
    return [...new Map(found.map((one) => [one.message, one])).values()];
  }

  /** The holes that the log cannot fill, except segments that are there and lack only their key. */
  #lost(): CairnError[] {
    const { holes = [], logBegin = 0 } = this.#state.look ?? {};
    const locked = lockedRanges(this.#unreadable);
    const lost = holes.filter(({ last }) => last < logBegin).flatMap((hole) => gapsIn(locked, hole));
    return lost.map((hole) => missingInBackup(hole, this.#parts.store.location));
  }

  #report(): void {
    for (const finding of this.#findings()) {
      if (this.#reported.has(finding.message)) continue;
      this.#reported.add(finding.message);
      this.#parts.onFinding?.(finding);
    }
  }

  #failed(error: CairnError | undefined): Pick<State, "error" | "failingSince"> {
    return { error, failingSince: this.#state.error === undefined ? this.#iso() : this.#state.failingSince };
  }

  #iso(inMs = 0): string {
    return new Date(this.#clock.now() + inMs).toISOString();
  }
}

/** Returns whether a look failed because the log may not continue the backup. */
function isLost(error: CairnError | undefined): boolean {
  return isCairnError(error, "LOG_REGRESSED", "LOG_TRIMMED");
}

function report(run: WorkRun<"backup"> | undefined, look: BackupLook): void {
  const { removed, covered, failure } = look;
  if (failure !== undefined) run?.failed(failure);
  const [written, merged] = [look.written, look.merged].map((segments) =>
    segments.filter(({ isNew }) => isNew).map(({ name, bytes }) => ({ name, bytes })),
  ) as [{ name: string; bytes: number }[], { name: string; bytes: number }[]];
  const hasMerged = merged.length > 0 || removed.length > 0;
  const outcome = written.length > 0 ? "written" : hasMerged ? "merged" : "unchanged";
  run?.ended({ outcome, written, merged, removed, covered });
}
