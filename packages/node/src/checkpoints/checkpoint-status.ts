import { systemClock } from "@cairn/checkpoint";
import type { Checkpointer, CheckpointerOptions, CheckpointerStatus } from "@cairn/checkpoint";
import type { NodeStatus, VerifiedSummary } from "@cairn/client";
import type { LastResults } from "../observe/last-results.ts";
import { isoTime } from "../text/iso-time.ts";

export interface CheckpointParts {
  readonly checkpointer?: Checkpointer | undefined;
  readonly upkeep: { readonly lastVerified: VerifiedSummary | null } | undefined;
  readonly report: { readonly restoredCheckpoint: CheckpointerStatus["last"] };
  readonly observation: { readonly lastResults: LastResults };
  readonly options?: Pick<CheckpointerOptions, "store" | "approxFrequency"> | undefined;
}

/** The status while no checkpointer runs. */
const NOTHING_KNOWN: CheckpointerStatus = {
  last: null,
  storeAhead: null,
  lastCheckAt: null,
  nextCheckAt: null,
  running: null,
  skipped: null,
  warnings: [],
  lastFailure: null,
};

/** Returns the `checkpoints` part of /status. */
export function statusOfCheckpoints(parts: CheckpointParts): NodeStatus["checkpoints"] {
  const { checkpointer, upkeep, report, observation } = parts;
  const { lastResults } = observation;
  const status = checkpointer?.status() ?? NOTHING_KNOWN;
  const { storeAhead, lastCheckAt, nextCheckAt, running, skipped, warnings, lastFailure } = status;
  // Until the checkpointer has looked at the store, the restored checkpoint is the newest known one.
  const last = status.last ?? report.restoredCheckpoint;
  const verified = upkeep?.lastVerified ?? null;
  const storeNow = systemClock.now() + (storeAhead ?? 0);
  const ageMs = (iso: string): number => Math.max(0, Math.round(storeNow - Date.parse(iso)));
  return {
    last: last === null ? null : { ...last, ageMs: ageMs(last.takenAt) },
    lastSaved: lastResults.saved,
    lastVerified:
      verified === null
        ? null
        : {
            ...verified,
            ageMs: ageMs(verified.verifiedAt),
            durationMs: verificationMs(verified, lastResults),
          },
    lastDrill: lastResults.drill,
    lastCheckAt: lastCheckAt === null ? null : isoTime(lastCheckAt),
    nextCheckAt: nextCheckAt === null ? null : isoTime(nextCheckAt),
    running: running === null ? null : { ...running, startedAt: isoTime(running.startedAt) },
    skipped: skipped === null ? null : { ...skipped, at: isoTime(skipped.at) },
    warnings: warnings.map((warning) => ({ ...warning, at: isoTime(warning.at) })),
    lastFailure: lastFailure === null ? null : { ...lastFailure, at: isoTime(lastFailure.at) },
    approxFrequencyMs: parts.options?.approxFrequency ?? null,
    store: findingsOf(parts.options?.store),
  };
}

function findingsOf(store: CheckpointerOptions["store"] | undefined): NodeStatus["checkpoints"]["store"] {
  const findings = store?.describe?.();
  return store === undefined || findings === undefined ? null : { location: store.location, ...findings };
}

/** Null if another node verified the checkpoint, because then only the mark is known. */
function verificationMs({ verifiedAt }: VerifiedSummary, { verified }: LastResults): number | null {
  return verified?.verifiedAt === verifiedAt ? verified.durationMs : null;
}
