import { type Clock, systemClock } from "@cairn/checkpoint";
import type { NodeStatus, Phase } from "@cairn/client";
import { type RepeatedWork, repeatEvery } from "../concurrency/repeated-work.ts";

/** What a node does that may stand still: `mark` changes whenever anything moves. */
export interface Movement {
  readonly phase: Phase;
  readonly txId: number;
  readonly mark: string;
  /** It was done with all that it knew of: it stands still only from the look on that finds something left. False when left out. */
  readonly isCaughtUp?: boolean;
}

/** Something that has not moved for longer than it should, as /status shows it. */
export type Stall = NonNullable<NodeStatus["stalled"]>;

/** What a node waits for that stands still, as a word for machines and the end of a sentence. */
export interface WaitingFor {
  readonly what: Stall["waitingFor"];
  readonly text: string;
}

/** What a {@link StallWatch} looks at and whom it tells. */
export interface StallWatchOptions {
  /** Undefined where nothing is expected to move. */
  readonly look: () => Movement | undefined;
  /** Asked only when nothing has moved for too long; undefined when nothing is left to do. */
  readonly explain: (movement: Movement) => Promise<WaitingFor | undefined>;
  readonly onStall: (stall: Stall) => void;
  /** It moves again, or nothing is left to do, after so long. */
  readonly onMove: (stall: Stall) => void;
  /** A look failed; the next one comes all the same. */
  readonly onError: (error: unknown) => void;
  /** How long nothing may move before it is named. Default 30,000. */
  readonly afterMs?: number;
  /** Its `now` must not jump with the machine's time. */
  readonly clock?: Clock;
}

/** How long nothing may move before it is named: the same for every phase. */
const STALLED_AFTER_MS = 30_000;
const LOOKS_A_LIMIT = 10;

/** The time since the machine started, which a corrected clock does not change. */
const steadyClock: Clock = { ...systemClock, now: () => performance.now() };

/** Names what does not move. It ends nothing: only what waits can know whether waiting is in vain. */
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

  /** Begins to look; once. */
  start(): void {
    this.#since = this.#clock.now();
    const every = this.#afterMs / LOOKS_A_LIMIT;
    this.#looking = repeatEvery(this.#clock, every, () => this.#lookOnce(), this.#options.onError);
  }

  /** What stands still now. */
  get stalled(): Stall | null {
    // It may have moved since the last look.
    if (this.#stall === undefined || this.#options.look()?.mark !== this.#mark) return null;
    return { ...this.#stall, forMs: Math.round(this.#clock.now() - this.#since) };
  }

  /** Ends it, and waits for a look under way. */
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
    // One look could meet a log that is away for an instant, on a node that had nothing to do until then.
    if (!this.#suspected) {
      this.#suspected = true;
      if (movement.isCaughtUp === true) this.#since = this.#clock.now();
      return;
    }
    const known = this.#stall;
    this.#stall = this.#describe(movement, waitingFor);
    if (known === undefined) this.#options.onStall({ ...this.#stall, forMs: this.#standing() });
  }

  #moved(mark: string | undefined): void {
    if (this.#stall !== undefined) this.#options.onMove({ ...this.#stall, forMs: this.#standing() });
    this.#stall = undefined;
    this.#suspected = false;
    this.#mark = mark;
    this.#since = this.#clock.now();
  }

  #standing(): number {
    return Math.round(this.#clock.now() - this.#since);
  }

  #describe({ phase, txId }: Movement, { what, text }: WaitingFor): Omit<Stall, "forMs"> {
    const since = new Date(Date.now() - this.#standing()).toISOString();
    const message = `The node is ${phase} at transaction ${txId} and waits for ${text}.`;
    return { phase, txId, since: this.#stall?.since ?? since, waitingFor: what, message };
  }
}
