import { errorMessage, isCairnError, systemErrorCode, type Clock } from "@cairn/kv";
import type { CheckpointerStatus, CheckpointerWarning, RoundStep } from "./checkpointer-events.ts";
import type { Look, TakeOutcome } from "./checkpoint-round.ts";
import type { StoredCheckpoint } from "../store/list-checkpoints.ts";

export const NOTHING_KNOWN: CheckpointerStatus = {
  last: null,
  storeAhead: null,
  otherStores: [],
  lastCheckAt: null,
  nextCheckAt: null,
  running: null,
  skipped: null,
  warnings: [],
  lastFailure: null,
};

/** How long a warning lasts after it was found (in periods). */
const WARNING_PERIODS = 4;

export class StatusKeeper {
  readonly #clock: Clock;
  readonly #period: number;
  readonly #found = new Map<CheckpointerWarning["about"], number>();
  /** An immutable snapshot. */
  current = NOTHING_KNOWN;

  constructor(clock: Clock, approxFrequency: number) {
    this.#clock = clock;
    this.#period = approxFrequency;
  }

  /** Records that the next look is due in `delay` ms or, if `delay` is null, that it has begun. */
  plan(delay: number | null): void {
    this.#set({ nextCheckAt: delay === null ? null : this.#clock.now() + delay });
  }

  /** Records that a round has reached this step; the first step begins the round. */
  step(step: RoundStep, bytes: number): void {
    const startedAt = this.current.running?.startedAt ?? this.#clock.now();
    this.#set({ running: { startedAt, step, bytes } });
  }

  ended(): void {
    this.#set({ running: null });
  }

  looked({ newest, storeAhead, otherStores }: Look): void {
    const now = this.#clock.now();
    const warnings = this.current.warnings.filter(
      ({ about, at }) => now - (this.#found.get(about) ?? at) < WARNING_PERIODS * this.#period,
    );
    const last = newest === undefined ? null : summary(newest);
    this.#set({ last, storeAhead, otherStores, lastCheckAt: now, warnings });
  }

  succeeded(outcome: TakeOutcome): void {
    this.looked(outcome);
    this.#set({ skipped: this.#skipped(outcome) });
  }

  /** Records a failure; `where` precedes the message if the error alone does not show what has failed. */
  failed(error: unknown, where = ""): void {
    const code = isCairnError(error) ? error.code : (systemErrorCode(error) ?? "INTERNAL");
    const hint = (isCairnError(error) ? error.hint : undefined) ?? null;
    const message = where + errorMessage(error);
    this.#set({ skipped: null, lastFailure: { at: this.#clock.now(), code, message, hint } });
  }

  /** Records a warning, which replaces the last one of its kind. Returns whether it is the first one. */
  warned(warning: CheckpointerWarning): boolean {
    const now = this.#clock.now();
    const known = this.current.warnings.find(({ about }) => about === warning.about);
    const others = this.current.warnings.filter((one) => one !== known);
    this.#found.set(warning.about, now);
    this.#set({ warnings: [...others, { ...warning, at: known?.at ?? now }] });
    return known === undefined;
  }

  #skipped(round: TakeOutcome): CheckpointerStatus["skipped"] {
    if (round.outcome === "taken") return null;
    return { at: this.#clock.now(), reason: round.reason, because: round.because };
  }

  #set(change: Partial<CheckpointerStatus>): void {
    this.current = { ...this.current, ...change };
  }
}

function summary({ name, manifest }: StoredCheckpoint): CheckpointerStatus["last"] {
  const { txId, takenAt, archive } = manifest;
  return { name, txId, takenAt, bytes: archive.bytes };
}
