import { CairnError } from "@cairn/kv";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import { type Clock, systemClock, systemRandom } from "../timing/clock.ts";
import type { Archiving } from "./capture.ts";
import { checkpointRounds, type Rounds, type TakeOutcome } from "./checkpoint-round.ts";
import type { CheckpointerEvent, CheckpointerStatus } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import { StatusKeeper } from "./checkpointer-status.ts";
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

export interface RequestedRound {
  readonly begun: Promise<void>;
  readonly done: Promise<TakeOutcome>;
}

export interface Checkpointer {
  /**
   * Saves now, even if the newest checkpoint is recent. `begun` resolves when the round has begun, `done` when it has
   * ended; both reject with `CHECKPOINT_RUNNING` while another round saves, and with `NOT_READY` after `stop`. If a
   * scheduled look is running, waits for it unless it saves.
   */
  checkpointNow(): RequestedRound;
  status(): CheckpointerStatus;
  /**
   * Ends the schedule and waits up to `timeoutMs` (default 10,000) for a running round, and for the checkpoint on close
   * if one is configured and `save` is not false. Then aborts the round, and waits at most one more second for a store
   * that does not respond. Afterwards, nothing reads the index. It may be called repeatedly.
   */
  stop(options?: StopOptions): Promise<void>;
}

export interface StopOptions {
  readonly timeoutMs?: number;
  /** If false, no checkpoint is saved on close, because the index is not trusted. Defaults to true. */
  readonly save?: boolean;
}

const STOP_TIMEOUT_MS = 10_000;
const ABORT_TIMEOUT_MS = 1_000;

/** Looks at the store soon, then about once per period. A look saves a checkpoint if no other node has saved one. */
export function startCheckpointer(parts: CheckpointerParts): Checkpointer {
  const checkpointer = new ScheduledCheckpointer(parts);
  checkpointer.start();
  return checkpointer;
}

class ScheduledCheckpointer implements Checkpointer {
  readonly #options: CheckpointerOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #rounds: Rounds;
  readonly #scheduleEnd = new AbortController();
  readonly #upload = new AbortController();
  readonly #status: StatusKeeper;
  /** The running round. It is `forced` unless it was scheduled. */
  #running: { readonly forced: boolean; readonly ended: Promise<void> } | undefined;
  #schedule: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #failures = 0;

  constructor(parts: CheckpointerParts) {
    const { source, options, clock = systemClock, random = systemRandom, onEvent = () => undefined } = parts;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#status = new StatusKeeper(clock);
    this.#rounds = checkpointRounds({
      source,
      options,
      clock,
      onEvent: (event) => this.#report(event, onEvent),
      onStep: (step, bytes) => this.#status.step(step, bytes),
      archiving: parts.archiving,
    });
  }

  start(): void {
    this.#schedule = this.#runSchedule();
  }

  status(): CheckpointerStatus {
    return this.#status.current;
  }

  checkpointNow(): RequestedRound {
    const requested = this.#isLooking() ? this.#afterLook() : this.#request();
    // A caller may await only one of the two; a rejection of the other must not end the process.
    requested.done.catch(() => undefined);
    requested.begun.catch(() => undefined);
    return requested;
  }

  stop({ timeoutMs = STOP_TIMEOUT_MS, save = true }: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs, save && this.#options.checkpointOnClose);
    return this.#stopped;
  }

  #request(): RequestedRound {
    const refusal = this.#refusal();
    if (refusal === undefined) return { begun: Promise.resolve(), done: this.#round(true) };
    return { begun: Promise.reject(refusal), done: Promise.reject(refusal) };
  }

  /** The round begins after a scheduled look, which counts as a running save only if it saves a checkpoint. */
  #afterLook(): RequestedRound {
    const requested = (async () => {
      while (this.#isLooking()) await this.#status.nextStep();
      const { begun, done } = this.#request();
      done.catch(() => undefined);
      await begun;
      return { done };
    })();
    return { begun: requested.then(() => undefined), done: requested.then(({ done }) => done) };
  }

  #isLooking(): boolean {
    return this.#running?.forced === false && this.status().running?.step === "looking";
  }

  #refusal(): CairnError | undefined {
    if (this.#stopped !== undefined) return stopped();
    return this.#running === undefined ? undefined : alreadyRunning();
  }

  async #runSchedule(): Promise<void> {
    const { approxFrequency, firstLookAfter } = this.#options;
    let delay = firstLookAfter ?? firstLookDelay(approxFrequency, this.#random());
    for (;;) {
      this.#status.plan(delay);
      const due = await this.#clock.wait(delay, this.#scheduleEnd.signal);
      this.#status.plan(null);
      if (!due) return;
      // A requested round may be running; this look comes after it.
      while (this.#running !== undefined) await this.#running.ended;
      if (this.#scheduleEnd.signal.aborted) return;
      delay = await this.#lookOnce();
    }
  }

  /** Performs one look. Returns the time until the next one (ms). */
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
        leasedFor: lease === undefined ? undefined : Date.parse(lease.expiresAt) - storeNow,
        random: this.#random(),
      });
    } catch {
      // The round has reported its error. The schedule continues, whatever the error was.
      return retryDelay(approxFrequency, this.#failures, this.#random());
    }
  }

  /** Runs a round. Begins synchronously, so that no other round can begin in between. */
  #round(forced: boolean): Promise<TakeOutcome> {
    this.#status.step("looking", 0);
    // Stopping waits for the upload, and by then the node has little else to do.
    const hurry = this.#scheduleEnd.signal;
    const outcome = this.#rounds.run({ forced, signal: this.#upload.signal, hurry });
    this.#running = { forced, ended: this.#settle(outcome) };
    return outcome;
  }

  async #settle(round: Promise<TakeOutcome>): Promise<void> {
    try {
      this.#status.succeeded(await round);
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#status.failed(error);
    }
    this.#running = undefined;
    this.#status.ended();
  }

  /** Reports to the observer. Its errors must neither make a checkpoint fail nor end the schedule. */
  #report(event: CheckpointerEvent, onEvent: (event: CheckpointerEvent) => void): void {
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
    this.#scheduleEnd.abort();
    const ended = new AbortController();
    const limit = this.#abortAfter(timeoutMs, ended.signal);
    await Promise.race([this.#finish(save), limit]);
    ended.abort();
    await limit;
    if (!this.#options.keepDirOnClose) await this.#rounds.dropDirectory();
  }

  /** Waits for the running round, and saves once more if `save` is set. */
  async #finish(save: boolean): Promise<void> {
    await this.#running?.ended;
    await this.#schedule;
    if (!save || this.#upload.signal.aborted) return;
    void this.#round(true).catch(() => undefined);
    await this.#running?.ended;
  }

  async #abortAfter(ms: number, ended: AbortSignal): Promise<void> {
    if (!(await this.#clock.wait(ms, ended))) return;
    this.#upload.abort(stoppedAfter(ms));
    // A store may never respond. A capture always ends, but it reads the index until then.
    do {
      if (!(await this.#clock.wait(ABORT_TIMEOUT_MS, ended))) return;
    } while (this.status().running?.step === "capturing");
  }
}

function stopped(): CairnError {
  return new CairnError("NOT_READY", "The node is stopping and saves no more checkpoints.", {
    hint: "Set checkpoint-on-close? to save one whenever a node stops.",
  });
}

function alreadyRunning(): CairnError {
  return new CairnError("CHECKPOINT_RUNNING", "A checkpoint is already being saved.", {
    hint: "Wait until it has ended. The status shows its progress.",
  });
}

/** Returns the reason that `stop` gives when it aborts a round after `timeoutMs`. */
function stoppedAfter(timeoutMs: number): CairnError {
  return new CairnError(
    "NOT_READY",
    `The node stopped before the checkpoint was saved, after waiting ${timeoutMs} ms.`,
    {
      hint: "Leave the checkpoint to the next node that looks at the store. Nothing was published.",
    },
  );
}
