import { CairnError, errorMessage, type Clock, systemClock, systemRandom } from "@cairn/kv";
import { requireThreadFiles } from "@cairn/kv/threads";
import { sweepStore } from "../retain/sweep.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import { type LookMemory, lookMemory, takeCheckpoint, type TakeOutcome } from "./checkpoint-round.ts";
import type { CheckpointerEvent, CheckpointerStatus, CheckpointerWarning } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import { keptStatus, type StatusKeeper } from "./checkpointer-status.ts";
import { type Archiving, archivingOnDisk } from "./save-checkpoint.ts";
import { firstLookDelay, nextLookDelay, retryDelay } from "./schedule.ts";

/** The dependencies of a checkpointer. The clock and the random numbers default to the machine's. */
export interface CheckpointerParts {
  readonly source: CheckpointSource;
  readonly options: CheckpointerOptions;
  readonly clock?: Clock;
  /** Returns a random number, at least 0 and below 1. */
  readonly random?: () => number;
  /** Called with each event. If it throws, the status reports the error, which has no other effect. */
  readonly onEvent?: (event: CheckpointerEvent) => void;
  /** How copies are created and packed. Defaults to {@link archivingOnDisk}. */
  readonly archiving?: Archiving;
}

interface StopOptions {
  readonly timeoutMs?: number;
  /** If false, no checkpoint is saved on close, because the index is not trusted. Defaults to true. */
  readonly save?: boolean;
}

const STOP_TIMEOUT_MS = 10_000;
const ABORT_TIMEOUT_MS = 1_000;

/** Looks at the store soon, then about once per period. A look saves a checkpoint if no other node has saved one. */
export function startCheckpointer(parts: CheckpointerParts): Checkpointer {
  requireThreadFiles();
  return new Checkpointer(parts);
}

export class Checkpointer {
  readonly #parts: CheckpointerParts;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #directory: ReturnType<Archiving["directory"]>;
  readonly #memory: LookMemory;
  readonly #scheduleEnd = new AbortController();
  /** Plans the next look anew. The reason is the time until it is due then (ms). */
  #early = new AbortController();
  readonly #upload = new AbortController();
  readonly #status: StatusKeeper;
  #running: Promise<void> | undefined;
  /** Whether a requested round is running, or waits for the running one to end. */
  #isRequested = false;
  readonly #schedule: Promise<void>;
  #stopped: Promise<void> | undefined;
  #failures = 0;

  constructor(parts: CheckpointerParts) {
    const { source, options, clock = systemClock, archiving = archivingOnDisk } = parts;
    this.#parts = parts;
    this.#clock = clock;
    this.#random = parts.random ?? systemRandom;
    this.#status = keptStatus(clock, options.approxFrequency);
    this.#directory = archiving.directory(options.checkpointDir, options.captureOwner ?? source.node);
    this.#memory = lookMemory(options.approxFrequency, (warning) => this.#warn(warning));
    this.#schedule = this.#runSchedule();
  }

  status(): CheckpointerStatus {
    return this.#status.current;
  }

  /** Makes the next scheduled look begin now, because the newest checkpoint was found damaged. */
  lookNow(): void {
    this.#early.abort(0);
  }

  /**
   * Saves now, even if the newest checkpoint is recent, or after the scheduled round that is running, whose checkpoint
   * may lack the newest transactions. `begun` resolves at once, and `done` when the requested round has ended. Both reject
   * with `CHECKPOINT_RUNNING` until another requested round has ended, and with `NOT_READY` after `stop`.
   */
  checkpointNow(): { readonly begun: Promise<void>; readonly done: Promise<TakeOutcome> } {
    const refusal = this.#refusal();
    const begun = refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
    const done = refusal === undefined ? this.#requestedRound() : Promise.reject(refusal);
    // A caller may await only one of the two; a rejection of the other must not end the process.
    begun.catch(() => undefined);
    done.catch(() => undefined);
    return { begun, done };
  }

  /**
   * Ends the schedule and waits up to `timeoutMs` (default 10,000) for a running round, and for the checkpoint on close
   * if one is configured and `save` is not false. Then aborts the round, and waits at most one more second for a store
   * that does not respond. Afterwards, nothing reads the index. It may be called repeatedly.
   */
  stop({ timeoutMs = STOP_TIMEOUT_MS, save = true }: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs, save && this.#parts.options.checkpointOnClose);
    return this.#stopped;
  }

  async #requestedRound(): Promise<TakeOutcome> {
    this.#isRequested = true;
    try {
      while (this.#running !== undefined) await this.#running;
      if (this.#stopped !== undefined) throw stopping();
      return await this.#round(true);
    } finally {
      this.#isRequested = false;
    }
  }

  #refusal(): CairnError | undefined {
    if (this.#stopped !== undefined) return stopping();
    if (!this.#isRequested) return undefined;
    return new CairnError(
      "CHECKPOINT_RUNNING",
      "A checkpoint is already being saved.",
      "Wait until it has ended. The status shows its progress.",
    );
  }

  async #runSchedule(): Promise<void> {
    const { approxFrequency, firstLookAfter } = this.#parts.options;
    let delay = firstLookAfter ?? firstLookDelay(approxFrequency, this.#random());
    for (;;) {
      this.#status.plan(delay);
      const early = this.#early.signal;
      await this.#clock.wait(delay, AbortSignal.any([this.#scheduleEnd.signal, early]));
      if (early.aborted) {
        this.#early = new AbortController();
        delay = Number(early.reason);
        if (delay > 0) continue;
      }
      this.#status.plan(null);
      // A requested round may be running; this look comes after it.
      while (this.#running !== undefined) await this.#running;
      if (this.#scheduleEnd.signal.aborted) return;
      delay = await this.#lookOnce();
    }
  }

  /** Performs one look. Returns the time until the next one (ms). */
  async #lookOnce(): Promise<number> {
    const { approxFrequency } = this.#parts.options;
    const lookedAt = this.#clock.now();
    try {
      const outcome = await this.#round(false);
      const storeNow = outcome.storeNow + (this.#clock.now() - lookedAt);
      const lease = outcome.outcome === "skipped" ? outcome.lease : undefined;
      return nextLookDelay({
        approxFrequency,
        newestTakenAt: outcome.takenAt,
        storeNow,
        leased: outcome.outcome === "skipped" && outcome.reason === "leased",
        leasedFor: lease === undefined ? undefined : Date.parse(lease.expiresAt) - storeNow,
        random: this.#random(),
      });
    } catch {
      // The round has reported its error. The schedule continues, whatever the error was.
      return this.#retryDelay();
    }
  }

  #retryDelay(): number {
    return retryDelay(this.#parts.options.approxFrequency, this.#failures, this.#random());
  }

  /** Runs a round. Begins synchronously, so that no other round can begin in between. */
  #round(forced: boolean): Promise<TakeOutcome> {
    this.#status.step("looking", 0);
    const outcome = this.#run(forced);
    this.#running = this.#settle(outcome);
    return outcome;
  }

  async #settle(round: Promise<TakeOutcome>): Promise<void> {
    try {
      this.#status.succeeded(await round);
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#status.failed(error);
      const { nextCheckAt } = this.#status.current;
      // The schedule waits, so this round was requested. Its failure would otherwise last until the next look.
      if (nextCheckAt !== null)
        this.#early.abort(Math.min(nextCheckAt - this.#clock.now(), this.#retryDelay()));
    }
    this.#running = undefined;
    this.#status.ended();
  }

  /**
   * Takes a checkpoint or skips it, sweeps after taking one, and reports both as events. If the store is full, sweeps
   * first, and tries once more if that removed something. If the checkpoint fails, throws its error.
   */
  async #run(forced: boolean): Promise<TakeOutcome> {
    const { source, options, archiving } = this.#parts;
    const startedAt = this.#clock.now();
    const durationMs = (): number => this.#clock.now() - startedAt;
    // The number of bytes packed so far. A failure is reported with it.
    let packed = 0;
    this.#report({ type: "begun", forced });
    try {
      await this.#directory.make();
      const outcome = await takeCheckpoint({
        source,
        options,
        clock: this.#clock,
        forced,
        signal: this.#upload.signal,
        // Stopping waits for the upload, and by then the node has little else to do.
        hurry: this.#scheduleEnd.signal,
        onStep: (step, bytes) => {
          packed = bytes;
          this.#status.step(step, bytes);
        },
        archiving,
        memory: this.#memory,
        onLook: (look) => this.#status.looked(look),
        // The policy keeps what is needed even before the new checkpoint exists. If sweeps only followed saves, a
        // full store would stay full.
        makeRoom: (logId) => this.#sweep(logId),
      });
      if (outcome.outcome === "skipped") {
        const { reason, because } = outcome;
        this.#report({ type: "skipped", reason, because, durationMs: durationMs() });
      } else {
        this.#report({ type: "taken", checkpoint: outcome.checkpoint, durationMs: durationMs() });
        await this.#sweep(outcome.checkpoint.manifest.log.id);
      }
      return outcome;
    } catch (error) {
      this.#report({ type: "failed", error, durationMs: durationMs(), bytes: packed });
      throw error;
    } finally {
      if (!options.keepDirBetweenCheckpoints) await this.#dropDirectory();
    }
  }

  /** Returns whether this may have freed space. Reports a failure, but does not throw it: saving comes first. */
  async #sweep(logId: string): Promise<boolean> {
    const { source, options } = this.#parts;
    const startedAt = this.#clock.now();
    this.#status.step("sweeping", 0);
    this.#report({ type: "sweep-begun" });
    try {
      const report = await sweepStore({
        store: options.store,
        source,
        logId,
        policy: options.retentionPolicy,
      });
      this.#report({ type: "swept", ...report, durationMs: this.#clock.now() - startedAt });
      return report.removed.some(({ reason }) => reason !== "expired");
    } catch (error) {
      this.#report({ type: "sweep-failed", error, durationMs: this.#clock.now() - startedAt });
      return false;
    }
  }

  /** Removes the capture directory if this checkpointer created it. A failure is reported as a warning, not thrown. */
  async #dropDirectory(): Promise<void> {
    try {
      await this.#directory.drop();
    } catch (error) {
      const path = this.#parts.options.checkpointDir;
      this.#warn({
        about: "capture-directory",
        message: `The capture directory ${path} could not be removed: ${errorMessage(error)}`,
        hint: "Remove it by hand, or leave it to the node, which removes it later. It is empty and does no harm.",
      });
    }
  }

  #warn(warning: CheckpointerWarning): void {
    if (this.#status.warned(warning)) this.#report({ type: "warning", ...warning });
  }

  /** Reports to the observer. Its errors must neither make a checkpoint fail nor end the schedule. */
  #report(event: CheckpointerEvent): void {
    try {
      this.#parts.onEvent?.(event);
    } catch (error) {
      this.#status.failed(error, `An observer of the event ${event.type} failed: `);
    }
  }

  async #stop(timeoutMs: number, save: boolean): Promise<void> {
    this.#scheduleEnd.abort();
    const ended = new AbortController();
    const limit = this.#abortAfter(timeoutMs, ended.signal);
    await Promise.race([this.#finish(save), limit]);
    ended.abort();
    await limit;
    if (!this.#parts.options.keepDirOnClose) await this.#dropDirectory();
  }

  async #finish(save: boolean): Promise<void> {
    await this.#running;
    await this.#schedule;
    if (!save || this.#upload.signal.aborted) return;
    void this.#round(true).catch(() => undefined);
    await this.#running;
  }

  async #abortAfter(ms: number, ended: AbortSignal): Promise<void> {
    if (!(await this.#clock.wait(ms, ended))) return;
    const message = `The node stopped before the checkpoint was saved, after waiting ${ms} ms.`;
    const hint = "Leave the checkpoint to the next node that looks at the store. Nothing was published.";
    this.#upload.abort(new CairnError("NOT_READY", message, hint));
    // A store may never respond. A capture always ends, but it reads the index until then.
    do {
      if (!(await this.#clock.wait(ABORT_TIMEOUT_MS, ended))) return;
    } while (this.status().running?.step === "capturing");
  }
}

function stopping(): CairnError {
  return new CairnError(
    "NOT_READY",
    "The node is stopping and saves no more checkpoints.",
    "Set checkpoint-on-close? to save one whenever a node stops.",
  );
}
