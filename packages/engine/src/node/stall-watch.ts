import { type Clock, systemClock, type RepeatedWork, repeatEvery } from "@cairn/kv";
import type { NodeStatus, Phase } from "@cairn/client";

/** The progress of a node at one instant. `mark` changes with any progress. */
export interface Movement {
  readonly phase: Phase;
  readonly txId: number;
  readonly mark: string;
  /** True if all known work is done: then a stall begins only when a check finds more. Defaults to false. */
  readonly isCaughtUp?: boolean;
}

type Stall = NonNullable<NodeStatus["stalled"]>;

export interface WaitingFor {
  readonly what: Stall["waitingFor"];
  readonly text: string;
}

interface StallWatchOptions {
  /** Returns the current progress; undefined if no progress is expected. */
  readonly look: () => Movement | undefined;
  /** Called only after too much time without progress. Returns undefined if the node has nothing to do. */
  readonly explain: (movement: Movement) => Promise<WaitingFor | undefined>;
  /** Called when a stall begins, and when the node makes progress again or has nothing to do. */
  readonly onChange: () => void;
  readonly onError: (error: unknown) => void;
  /** The time without progress that counts as a stall (ms). Defaults to 30,000. */
  readonly afterMs?: number;
  /** The clock. Its `now` must not jump when the machine's time is corrected. */
  readonly clock?: Clock;
}

const STALLED_AFTER_MS = 30_000;
const LOOKS_PER_LIMIT = 10;

/** A clock that measures the time since the process started. Corrections of the machine's time do not affect it. */
const steadyClock: Clock = { ...systemClock, now: () => performance.now() };

/** Reports stalls, but never aborts anything, because only the waiting code can know whether waiting is futile. */
export class StallWatch {
  readonly #options: StallWatchOptions;
  readonly #clock: Clock;
  readonly #afterMs: number;
  #looking: RepeatedWork | undefined;
  #mark: string | undefined;
  #since: number;
  #suspected = false;
  #stall: Omit<Stall, "forMs"> | undefined;

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#clock = options.clock ?? steadyClock;
    this.#afterMs = options.afterMs ?? STALLED_AFTER_MS;
    this.#since = this.#clock.now();
  }

  start(): void {
    this.#since = this.#clock.now();
    const every = this.#afterMs / LOOKS_PER_LIMIT;
    this.#looking = repeatEvery(this.#clock, every, () => this.#lookOnce(), this.#options.onError);
  }

  get stalled(): Stall | null {
    // There may have been progress since the last check.
    if (this.#stall === undefined || this.#options.look()?.mark !== this.#mark) return null;
    return { ...this.#stall, forMs: Math.round(this.#clock.now() - this.#since) };
  }

  async stop(): Promise<void> {
    await this.#looking?.stop();
  }

  async #lookOnce(): Promise<void> {
    const movement = this.#options.look();
    if (movement === undefined || movement.mark !== this.#mark) return this.#moved(movement?.mark);
    if (this.#clock.now() - this.#since < this.#afterMs) return;
    const waitingFor = await this.#options.explain(movement);
    if (this.#options.look()?.mark !== this.#mark) return;
    if (waitingFor === undefined) return this.#moved(this.#mark);
    // A single check could coincide with a brief outage of the log, on a node that had nothing to do until then.
    if (!this.#suspected) {
      this.#suspected = true;
      if (movement.isCaughtUp === true) this.#since = this.#clock.now();
      return;
    }
    const { phase, txId } = movement;
    const { what, text } = waitingFor;
    const known = this.#stall;
    const since = new Date(systemClock.now() - Math.round(this.#clock.now() - this.#since)).toISOString();
    const message = `The node is ${phase} at transaction ${txId} and is waiting for ${text}.`;
    this.#stall = { phase, txId, since: known?.since ?? since, waitingFor: what, message };
    if (known === undefined) this.#options.onChange();
  }

  #moved(mark: string | undefined): void {
    const wasStalled = this.#stall !== undefined;
    this.#stall = undefined;
    this.#suspected = false;
    this.#mark = mark;
    this.#since = this.#clock.now();
    if (wasStalled) this.#options.onChange();
  }
}
