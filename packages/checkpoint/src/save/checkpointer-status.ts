import { EventEmitter, once } from "node:events";
import { errorMessage, isCairnError, systemErrorCode, type Clock } from "@cairn/kv";
import type { CheckpointerStatus, CheckpointerWarning, RoundStep } from "./checkpointer-events.ts";
import type { TakeOutcome } from "./checkpoint-round.ts";

/** The status before the first look. */
export const NOTHING_KNOWN: CheckpointerStatus = {
  last: null,
  storeAhead: null,
  lastCheckAt: null,
  nextCheckAt: null,
  running: null,
  skipped: null,
  warnings: [],
  lastFailure: null,
};

/** Keeps the status of a checkpointer up to date with its events. */
export class StatusKeeper {
  readonly #clock: Clock;
  readonly #steps = new EventEmitter();
  /** An immutable snapshot. */
  current = NOTHING_KNOWN;

  constructor(clock: Clock) {
    this.#clock = clock;
    // Any number of requests may be waiting for the end of a look.
    this.#steps.setMaxListeners(0);
  }

  /** Records that the next look is due in `delay` ms or, if `delay` is null, that it has begun. */
  plan(delay: number | null): void {
    this.#set({ nextCheckAt: delay === null ? null : this.#clock.now() + delay });
  }

  /** Records that a round has reached this step; the first step begins the round. */
  step(step: RoundStep, bytes: number): void {
    const startedAt = this.current.running?.startedAt ?? this.#clock.now();
    this.#set({ running: { startedAt, step, bytes } });
    this.#steps.emit("step");
  }

  /** Records that the round has ended. */
  ended(): void {
    this.#set({ running: null });
    this.#steps.emit("step");
  }

  /** Resolves at the next step of a round, or at its end. */
  async nextStep(): Promise<void> {
    await once(this.#steps, "step");
  }

  /** Records that a round has succeeded, or has skipped the checkpoint. */
  succeeded(outcome: TakeOutcome): void {
    const { newest, storeAhead } = outcome;
    this.#set({ storeAhead, lastCheckAt: this.#clock.now(), skipped: this.#skipped(outcome) });
    if (newest === undefined) return;
    const { txId, takenAt, archive } = newest.manifest;
    this.#set({ last: { name: newest.name, txId, takenAt, bytes: archive.bytes } });
  }

  /** Records a failure; `where` precedes the message if the error alone does not show what has failed. */
  failed(error: unknown, where = ""): void {
    const code = isCairnError(error) ? error.code : (systemErrorCode(error) ?? "INTERNAL");
    const hint = (isCairnError(error) ? error.hint : undefined) ?? null;
    const message = where + errorMessage(error);
    this.#set({ skipped: null, lastFailure: { at: this.#clock.now(), code, message, hint } });
  }

  /** Records a warning, which replaces the last one of its kind. */
  warned(warning: CheckpointerWarning): void {
    const others = this.current.warnings.filter(({ about }) => about !== warning.about);
    this.#set({ warnings: [...others, { ...warning, at: this.#clock.now() }] });
  }

  #skipped(round: TakeOutcome): CheckpointerStatus["skipped"] {
    if (round.outcome === "taken") return null;
    return { at: this.#clock.now(), reason: round.reason, because: round.because };
  }

  #set(change: Partial<CheckpointerStatus>): void {
    this.current = { ...this.current, ...change };
  }
}
