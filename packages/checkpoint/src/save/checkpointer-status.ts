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

export type StatusKeeper = ReturnType<typeof keptStatus>;

export function keptStatus(clock: Clock, approxFrequency: number) {
  const found = new Map<CheckpointerWarning["about"], number>();
  let current = NOTHING_KNOWN;
  const set = (change: Partial<CheckpointerStatus>): void => {
    current = { ...current, ...change };
  };
  const looked = ({ newest, storeAhead, otherStores }: Look): void => {
    const now = clock.now();
    const warnings = current.warnings.filter(
      ({ about, at }) => now - (found.get(about) ?? at) < WARNING_PERIODS * approxFrequency,
    );
    const last = newest === undefined ? null : summary(newest);
    set({ last, storeAhead, otherStores, lastCheckAt: now, warnings });
  };
  return {
    /** An immutable snapshot. */
    get current() {
      return current;
    },
    looked,
    /** Records that the next look is due in `delay` ms or, if `delay` is null, that it has begun. */
    plan(delay: number | null): void {
      set({ nextCheckAt: delay === null ? null : clock.now() + delay });
    },
    /** Records that a round has reached this step; the first step begins the round. */
    step(step: RoundStep, bytes: number): void {
      set({ running: { startedAt: current.running?.startedAt ?? clock.now(), step, bytes } });
    },
    ended(): void {
      set({ running: null });
    },
    succeeded(round: TakeOutcome): void {
      looked(round);
      const { outcome } = round;
      const skipped =
        outcome === "taken" ? null : { at: clock.now(), reason: round.reason, because: round.because };
      set({ skipped });
    },
    /** Records a failure; `where` precedes the message if the error alone does not show what has failed. */
    failed(error: unknown, where = ""): void {
      const code = isCairnError(error) ? error.code : (systemErrorCode(error) ?? "INTERNAL");
      const hint = (isCairnError(error) ? error.hint : undefined) ?? null;
      const message = where + errorMessage(error);
      set({ skipped: null, lastFailure: { at: clock.now(), code, message, hint } });
    },
    /** Records a warning, which replaces the last one of its kind. Returns whether it is the first one. */
    warned(warning: CheckpointerWarning): boolean {
      const now = clock.now();
      const known = current.warnings.find(({ about }) => about === warning.about);
      const others = current.warnings.filter((one) => one !== known);
      found.set(warning.about, now);
      set({ warnings: [...others, { ...warning, at: known?.at ?? now }] });
      return known === undefined;
    },
  };
}

function summary({ name, manifest }: StoredCheckpoint): CheckpointerStatus["last"] {
  const { txId, takenAt, archive } = manifest;
  return { name, txId, takenAt, bytes: archive.bytes };
}
