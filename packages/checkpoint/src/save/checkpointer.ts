import type { CairnError } from "@cairn/kv";
import type { Archiving } from "./archiving.ts";
import { checkpointRounds } from "./checkpoint-round.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CheckpointerEvent, CheckpointerStatus } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import { alreadyRunning, outlasted, stopped } from "./checkpointer-refusals.ts";
import { StatusKeeper } from "./checkpointer-status.ts";
import { systemClock } from "../timing/clock.ts";
import type { Clock } from "../timing/clock.ts";
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

/** A round that somebody asked for. */
export interface AskedRound {
  readonly begun: Promise<void>;
  readonly done: Promise<TakeOutcome>;
}

/** A running checkpointer. */
export interface Checkpointer {
  /**
   * Saves now, however recent the newest is. `begun` resolves when the round has begun, `done` when it ended; both are
   * rejected with `CHECKPOINT_RUNNING` while another round saves and with `NOT_READY` after `stop`. A look of the schedule that
   * saves nothing is waited for.
   */
  checkpointNow(): AskedRound;
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
  readonly #status: StatusKeeper;
  /** What runs: somebody asked for it, or the schedule did. */
  #running: { readonly forced: boolean; readonly ended: Promise<void> } | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #failures = 0;

  constructor(parts: CheckpointerParts) {
    const { source, options, clock = systemClock, random = Math.random, onEvent = () => undefined } = parts;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#status = new StatusKeeper(clock);
    this.#rounds = checkpointRounds({
      source,
      options,
      clock,
      onEvent: (event) => this.#tell(event, onEvent),
      onStep: (step, bytes) => this.#status.step(step, bytes),
      leaseMs: parts.leaseMs ?? leaseDuration(options.approxFrequency),
      ...(parts.archiving === undefined ? {} : { archiving: parts.archiving }),
    });
  }

  start(): void {
    this.#looking = this.#look();
  }

  status(): CheckpointerStatus {
    return this.#status.current;
  }

  checkpointNow(): AskedRound {
    const asked = this.#onlyLooks() ? this.#afterLook() : this.#ask();
    // A caller may care for one of the two only; an error in the other must not end the process.
    asked.done.catch(() => undefined);
    asked.begun.catch(() => undefined);
    return asked;
  }

  stop({ timeoutMs = STOP_TIMEOUT_MS, save = true }: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs, save && this.#options.checkpointOnClose);
    return this.#stopped;
  }

  #ask(): AskedRound {
    const refusal = this.#refusal();
    if (refusal === undefined) return { begun: Promise.resolve(), done: this.#round(true) };
    return { begun: Promise.reject(refusal), done: Promise.reject(refusal) };
  }

  /** A look of the schedule is no checkpoint being saved, unless it comes to that. */
  #afterLook(): AskedRound {
    const asked = (async () => {
      while (this.#onlyLooks()) await this.#status.nextStep();
      const { begun, done } = this.#ask();
      done.catch(() => undefined);
      await begun;
      return { done };
    })();
    return { begun: asked.then(() => undefined), done: asked.then(({ done }) => done) };
  }

  #onlyLooks(): boolean {
    return this.#running?.forced === false && this.status().running?.step === "looking";
  }

  #refusal(): CairnError | undefined {
    if (this.#stopped !== undefined) return stopped();
    return this.#running === undefined ? undefined : alreadyRunning();
  }

  async #look(): Promise<void> {
    const { approxFrequency, firstLookAfter } = this.#options;
    let delay = firstLookAfter ?? firstLookDelay(approxFrequency, this.#random());
    for (;;) {
      this.#status.plan(delay);
      const due = await this.#clock.wait(delay, this.#schedule.signal);
      this.#status.plan(null);
      if (!due) return;
      // A round that somebody asked for may be running; this look comes after it.
      while (this.#running !== undefined) await this.#running.ended;
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
      const storeNow = outcome.storeNow + (this.#clock.now() - lookedAt);
      const lease = outcome.outcome === "skipped" ? outcome.lease : undefined;
      return nextLookDelay({
        approxFrequency,
        newestTakenAt: outcome.takenAt,
        storeNow,
        leased: outcome.outcome === "skipped" && outcome.reason === "leased",
        ...(lease?.leftBehind === true ? { leftBehindFor: Date.parse(lease.expiresAt) - storeNow } : {}),
        random: this.#random(),
      });
    } catch {
      // The round has told its error; whatever it was, the next one comes.
      return retryDelay(approxFrequency, this.#failures, this.#random());
    }
  }

  /** Begins at once, so that no other can begin between. */
  #round(forced: boolean): Promise<TakeOutcome> {
    this.#status.step("looking", 0);
    // Stopping waits for it, and the node has no more to do then than to follow the log.
    const hurry = this.#schedule.signal;
    const outcome = this.#rounds.run({ forced, signal: this.#upload.signal, hurry });
    this.#running = { forced, ended: this.#settle(outcome) };
    return outcome;
  }

  async #settle(round: Promise<TakeOutcome>): Promise<void> {
    try {
      this.#status.saw(await round);
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#status.failed(error);
    }
    this.#running = undefined;
    this.#status.ended();
  }

  /** Tells the observer, whose own errors must neither fail a checkpoint nor end the schedule. */
  #tell(event: CheckpointerEvent, onEvent: (event: CheckpointerEvent) => void): void {
    if (event.type === "warning") {
      const { type: _, ...warning } = event;
      this.#status.warned(warning);
    }
    try {
      onEvent(event);
    } catch (error) {
      this.#status.failed(error, `An observer of the event ${event.type} failed: `);
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
    await this.#running?.ended;
    await this.#looking;
    if (!save || this.#upload.signal.aborted) return;
    void this.#round(true).catch(() => undefined);
    await this.#running?.ended;
  }

  async #giveUpAfter(ms: number, ended: AbortSignal): Promise<void> {
    if (!(await this.#clock.wait(ms, ended))) return;
    this.#upload.abort(outlasted(ms));
    // Only a store can fail to end; a capture does, and reads the index until then.
    do {
      if (!(await this.#clock.wait(GIVEN_UP_AFTER_MS, ended))) return;
    } while (this.status().running?.step === "capturing");
  }
}
