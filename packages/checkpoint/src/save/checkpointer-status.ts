import { EventEmitter, once } from "node:events";
import { errorMessage, isCairnError, systemErrorCode } from "@cairn/kv";
import type { CheckpointerStatus } from "./checkpointer-events.ts";
import type { Clock } from "../timing/clock.ts";
import type { CheckpointerWarning } from "./store-witness.ts";
import type { RoundStep, TakeOutcome } from "./take-checkpoint.ts";

/** Keeps what a checkpointer tells of itself. */
export class StatusKeeper {
  readonly #clock: Clock;
  readonly #steps = new EventEmitter();
  #status: CheckpointerStatus = {
    last: null,
    storeAhead: null,
    nextCheckAt: null,
    running: null,
    warnings: [],
    lastFailure: null,
  };

  constructor(clock: Clock) {
    this.#clock = clock;
    // Any number of requests may wait for the end of a look.
    this.#steps.setMaxListeners(0);
  }

  /** As it is now; never changed afterwards. */
  get current(): CheckpointerStatus {
    return this.#status;
  }

  /** The next look is in so many milliseconds; null: it has come. */
  plan(delay: number | null): void {
    this.#set({ nextCheckAt: delay === null ? null : this.#clock.now() + delay });
  }

  /** A round is at this step; its first one begins it. */
  step(step: RoundStep, bytes: number): void {
    const startedAt = this.#status.running?.startedAt ?? this.#clock.now();
    this.#set({ running: { startedAt, step, bytes } });
    this.#steps.emit("step");
  }

  /** The round has ended. */
  ended(): void {
    this.#set({ running: null });
    this.#steps.emit("step");
  }

  /** Resolves at the next step of a round, or at its end. */
  async nextStep(): Promise<void> {
    await once(this.#steps, "step");
  }

  /** What a round that did not fail saw. */
  saw({ newest, storeAhead }: TakeOutcome): void {
    this.#set({ storeAhead });
    if (newest === undefined) return;
    const { txId, takenAt, archive } = newest.manifest;
    this.#set({ last: { name: newest.name, txId, takenAt, bytes: archive.bytes } });
  }

  /** Something failed; `where` begins the sentence if the error alone does not say it. */
  failed(error: unknown, where = ""): void {
    const code = isCairnError(error) ? error.code : (systemErrorCode(error) ?? "INTERNAL");
    const hint = (isCairnError(error) ? error.hint : undefined) ?? null;
    this.#set({ lastFailure: { at: this.#clock.now(), code, message: where + errorMessage(error), hint } });
  }

  /** Somebody should look at this; the last of its kind stays. */
  warned(warning: CheckpointerWarning): void {
    const others = this.#status.warnings.filter(({ about }) => about !== warning.about);
    this.#set({ warnings: [...others, { ...warning, at: this.#clock.now() }] });
  }

  #set(change: Partial<CheckpointerStatus>): void {
    this.#status = { ...this.#status, ...change };
  }
}
