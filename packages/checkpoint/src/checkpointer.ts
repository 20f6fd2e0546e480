import { CairnError, errorMessage, isCairnError, systemErrorCode } from "@cairn/kv";
import type { Archiving } from "./archiving.ts";
import { checkpointRounds } from "./checkpoint-round.ts";
import type { CheckpointSource } from "./checkpoint-source.ts";
import type { CheckpointerEvent, CheckpointerStatus } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import { systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { firstLookDelay, leaseDuration, nextLookDelay, retryDelay } from "./schedule.ts";
import type { TakeOutcome } from "./take-checkpoint.ts";

/** What a checkpointer works with; clock and randomness are the machine's when left out. */
export interface CheckpointerParts {
  readonly source: CheckpointSource;
  readonly options: CheckpointerOptions;
  readonly clock?: Clock;
  /** At least 0 and below 1. */
  readonly random?: () => number;
  /** Hears what happens. Should it throw, that is told in the status and harms nothing. */
  readonly onEvent?: (event: CheckpointerEvent) => void;
  /** How long a lease holds without being renewed (ms); {@link leaseDuration} of the frequency when left out. */
  readonly leaseMs?: number;
  /** How copies are made and packed; on disk when left out. */
  readonly archiving?: Archiving;
}

/** A running checkpointer. */
export interface Checkpointer {
  /**
   * Saves now, however recent the newest is. `begun` resolves when the round has begun, `done` when it ended; both are
   * rejected with `CHECKPOINT_RUNNING` while another round runs and with `NOT_READY` after `stop`.
   */
  checkpointNow(): { readonly begun: Promise<void>; readonly done: Promise<TakeOutcome> };
  status(): CheckpointerStatus;
  /**
   * Ends the schedule and waits up to `timeoutMs` (10,000 when left out) for what runs, and for the checkpoint on close where
   * that is asked for and `save` is not false; then aborts it, and waits a second at most for a store that does not even answer to
   * that. Afterwards nothing reads the index any more. Twice is fine.
   */
  stop(options?: StopOptions): Promise<void>;
}

/** How a checkpointer ends. */
export interface StopOptions {
  readonly timeoutMs?: number;
  /** False: no checkpoint on close, since the index is left because it is not to be trusted. */
  readonly save?: boolean;
}

const STOP_TIMEOUT_MS = 10_000;
const GIVEN_UP_AFTER_MS = 1_000;

/** Starts looking at the store, soon and then about once a period, and saves a checkpoint when nobody else has. */
export function startCheckpointer(parts: CheckpointerParts): Checkpointer {
  const checkpointer = new ScheduledCheckpointer(parts);
  checkpointer.start();
  return checkpointer;
}

class ScheduledCheckpointer implements Checkpointer {
  readonly #options: CheckpointerOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #rounds: ReturnType<typeof checkpointRounds>;
  readonly #schedule = new AbortController();
  readonly #upload = new AbortController();
  #status: CheckpointerStatus = {
    last: null,
    storeAhead: null,
    nextCheckAt: null,
    running: null,
    warnings: [],
    lastFailure: null,
  };
  #running: Promise<unknown> | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #failures = 0;

  constructor(parts: CheckpointerParts) {
    const { source, options, clock = systemClock, random = Math.random, onEvent = () => undefined } = parts;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#rounds = checkpointRounds({
      source,
      options,
      clock,
      onEvent: (event) => this.#tell(event, onEvent),
      onStep: (step, bytes) => {
        const startedAt = this.#status.running?.startedAt ?? clock.now();
        this.#status = { ...this.#status, running: { startedAt, step, bytes } };
      },
      leaseMs: parts.leaseMs ?? leaseDuration(options.approxFrequency),
      ...(parts.archiving === undefined ? {} : { archiving: parts.archiving }),
    });
  }

  start(): void {
    this.#looking = this.#look();
  }

  status(): CheckpointerStatus {
    return this.#status;
  }

  checkpointNow(): { readonly begun: Promise<void>; readonly done: Promise<TakeOutcome> } {
    const refusal = this.#refusal();
    const done = refusal === undefined ? this.#round(true) : Promise.reject(refusal);
    const begun = refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
    // A caller may care for one of the two only; an error in the other must not end the process.
    done.catch(() => undefined);
    begun.catch(() => undefined);
    return { begun, done };
  }

  stop({ timeoutMs = STOP_TIMEOUT_MS, save = true }: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs, save && this.#options.checkpointOnClose);
    return this.#stopped;
  }

  #refusal(): CairnError | undefined {
    if (this.#stopped !== undefined) {
      return new CairnError("NOT_READY", "The node is stopping and saves no more checkpoints.", {
        hint: "Set checkpoint-on-close? to save one whenever a node stops.",
      });
    }
    if (this.#running === undefined) return undefined;
    return new CairnError("CHECKPOINT_RUNNING", "A checkpoint is being saved already.", {
      hint: "Wait until it ended; the status tells how far it is.",
    });
  }

  async #look(): Promise<void> {
    const { approxFrequency, firstLookAfter } = this.#options;
    let delay = firstLookAfter ?? firstLookDelay(approxFrequency, this.#random());
    for (;;) {
      this.#status = { ...this.#status, nextCheckAt: this.#clock.now() + delay };
      const due = await this.#clock.wait(delay, this.#schedule.signal);
      this.#status = { ...this.#status, nextCheckAt: null };
      if (!due) return;
      // A round that somebody asked for may be running; this look comes after it.
      while (this.#running !== undefined) await this.#running;
      if (this.#schedule.signal.aborted) return;
      delay = await this.#lookOnce();
    }
  }

  /** One look; answers how long to wait until the next. */
  async #lookOnce(): Promise<number> {
    const { approxFrequency } = this.#options;
    const lookedAt = this.#clock.now();
    try {
      const outcome = await this.#round(false);
      return nextLookDelay({
        approxFrequency,
        newestTakenAt: outcome.takenAt,
        storeNow: outcome.storeNow + (this.#clock.now() - lookedAt),
        leased: outcome.outcome === "skipped" && outcome.reason === "leased",
        random: this.#random(),
      });
    } catch {
      // The round has told its error; whatever it was, the next one comes.
      return retryDelay(approxFrequency, this.#failures, this.#random());
    }
  }

  /** Begins at once, so that no other can begin between. */
  #round(forced: boolean): Promise<TakeOutcome> {
    this.#status = { ...this.#status, running: { startedAt: this.#clock.now(), step: "looking", bytes: 0 } };
    const outcome = this.#rounds.run({ forced, signal: this.#upload.signal });
    this.#running = this.#settle(outcome);
    return outcome;
  }

  async #settle(round: Promise<TakeOutcome>): Promise<void> {
    try {
      const { newest, storeAhead } = await round;
      this.#failures = 0;
      this.#status = { ...this.#status, storeAhead };
      if (newest !== undefined) {
        const { txId, takenAt, archive } = newest.manifest;
        this.#status = { ...this.#status, last: { name: newest.name, txId, takenAt, bytes: archive.bytes } };
      }
    } catch (error) {
      this.#failures += 1;
      this.#noteFailure(error, "");
    }
    this.#running = undefined;
    this.#status = { ...this.#status, running: null };
  }

  #noteFailure(error: unknown, where: string): void {
    const code = isCairnError(error) ? error.code : (systemErrorCode(error) ?? "INTERNAL");
    const lastFailure = { at: this.#clock.now(), code, message: where + errorMessage(error) };
    this.#status = { ...this.#status, lastFailure };
  }

  /** Tells the observer, whose own errors must neither fail a checkpoint nor end the schedule. */
  #tell(event: CheckpointerEvent, onEvent: (event: CheckpointerEvent) => void): void {
    if (event.type === "warning") {
      const { type: _, ...warning } = event;
      const others = this.#status.warnings.filter(({ about }) => about !== warning.about);
      this.#status = { ...this.#status, warnings: [...others, { ...warning, at: this.#clock.now() }] };
    }
    try {
      onEvent(event);
    } catch (error) {
      this.#noteFailure(error, `An observer of the event ${event.type} failed: `);
    }
  }

  async #stop(timeoutMs: number, save: boolean): Promise<void> {
    this.#schedule.abort();
    const ended = new AbortController();
    const limit = this.#giveUpAfter(timeoutMs, ended.signal);
    await Promise.race([this.#finish(save), limit]);
    ended.abort();
    await limit;
    if (!this.#options.keepDirOnClose) await this.#rounds.dropDirectory();
  }

  /** Waits for what runs, and saves once more if that is wanted. */
  async #finish(save: boolean): Promise<void> {
    await this.#running;
    await this.#looking;
    if (!save || this.#upload.signal.aborted) return;
    void this.#round(true).catch(() => undefined);
    await this.#running;
  }

  async #giveUpAfter(ms: number, ended: AbortSignal): Promise<void> {
    if (!(await this.#clock.wait(ms, ended))) return;
    this.#upload.abort(stopping(ms));
    // Only a store can fail to end; a capture does, and reads the index until then.
    do {
      if (!(await this.#clock.wait(GIVEN_UP_AFTER_MS, ended))) return;
    } while (this.#status.running?.step === "capturing");
  }
}

function stopping(timeoutMs: number): CairnError {
  return new CairnError(
    "NOT_READY",
    `The node stopped before the checkpoint was saved, after waiting ${timeoutMs} ms.`,
    {
      hint: "Nothing was published; the next node that looks saves one.",
    },
  );
}
