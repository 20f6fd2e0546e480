import type {
  Checkpointer,
  CheckpointerOptions,
  CheckpointerStatus,
  CheckpointListing,
  CheckpointStore,
  TakeOutcome,
} from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { LastWorks } from "./events/last-works.ts";
import { isoTime } from "./index-store/row-values.ts";
import type { CheckpointResult, CheckpointSummary, NodeStatus, VerifiedSummary } from "./node-api.ts";
import type { System } from "./system/system.ts";

/** What the checkpoints part of /status is made of. */
export interface CheckpointParts {
  readonly checkpointer?: Checkpointer | undefined;
  readonly upkeep: { readonly lastVerified: VerifiedSummary | null } | undefined;
  readonly report: { readonly restoredCheckpoint: CheckpointerStatus["last"] };
  readonly observation: { readonly lastWorks: LastWorks };
  readonly store?: CheckpointStore | undefined;
}

/** While no checkpointer runs. */
const NOTHING_KNOWN: CheckpointerStatus = {
  last: null,
  storeAhead: null,
  nextCheckAt: null,
  running: null,
  warnings: [],
  lastFailure: null,
};

/** The checkpoints part of /status. */
export function statusOfCheckpoints(parts: CheckpointParts): NodeStatus["checkpoints"] {
  const { checkpointer, upkeep, report, observation } = parts;
  const { lastWorks } = observation;
  const status = checkpointer?.status() ?? NOTHING_KNOWN;
  const { storeAhead, nextCheckAt, running, warnings, lastFailure } = status;
  // Until the checkpointer has looked at the store, the one restored is the newest that is known.
  const last = status.last ?? report.restoredCheckpoint;
  const verified = upkeep?.lastVerified ?? null;
  const storeNow = Date.now() + (storeAhead ?? 0);
  const ageMs = (iso: string): number => Math.max(0, Math.round(storeNow - Date.parse(iso)));
  return {
    last: last === null ? null : { ...last, ageMs: ageMs(last.takenAt) },
    lastSaved: lastWorks.saved,
    lastVerified:
      verified === null
        ? null
        : { ...verified, ageMs: ageMs(verified.verifiedAt), durationMs: verifyingTook(verified, lastWorks) },
    lastDrill: lastWorks.drill,
    nextCheckAt: nextCheckAt === null ? null : isoTime(nextCheckAt),
    running: running === null ? null : { ...running, startedAt: isoTime(running.startedAt) },
    warnings: warnings.map((warning) => ({ ...warning, at: isoTime(warning.at) })),
    lastFailure: lastFailure === null ? null : { ...lastFailure, at: isoTime(lastFailure.at) },
    store: findingsOf(parts.store),
  };
}

function findingsOf(store: CheckpointStore | undefined): NodeStatus["checkpoints"]["store"] {
  const findings = store?.describe?.();
  return store === undefined || findings === undefined ? null : { location: store.location, ...findings };
}

/** Of a verification by another node only its mark is known. */
function verifyingTook({ verifiedAt }: VerifiedSummary, { verified }: LastWorks): number | null {
  return verified?.verifiedAt === verifiedAt ? verified.durationMs : null;
}

/** A checkpoint as GET /api/v1/checkpoints lists it. */
export function checkpointSummary(
  listing: Omit<CheckpointListing, "fileCount" | "verified">,
): CheckpointSummary {
  const { name, txId, takenAt, archive, node, log, documents } = listing;
  return { name, txId, takenAt, bytes: archive.bytes, node, logId: log.id, documents };
}

/** Where a node saves checkpoints; `NOT_FOUND` when it saves none. */
export function storeOf({ checkpointer }: System): CheckpointStore {
  if (checkpointer !== undefined) return checkpointer.store;
  throw new CairnError("NOT_FOUND", "This node has no checkpointer.", {
    hint: 'Configure "checkpointer" under cairn/index-store > kv-store; docs/configuration.md shows how.',
  });
}

type Stores = Pick<CheckpointerOptions, "store" | "restoreFrom">;

/** Where a node looks for checkpoints, in that order; nowhere without a checkpointer. */
export function restoreStores(checkpointer: Stores | undefined): readonly CheckpointStore[] {
  return checkpointer === undefined ? [] : (checkpointer.restoreFrom ?? [checkpointer.store]);
}

/** All that a node saves to and looks in, each once. */
export function everyStore(checkpointer: Stores | undefined): readonly CheckpointStore[] {
  return checkpointer === undefined
    ? []
    : [...new Set([checkpointer.store, ...(checkpointer.restoreFrom ?? [])])];
}

/** Saves a checkpoint now, as POST /api/v1/checkpoints answers it. */
export function runCheckpoint(checkpointer: Checkpointer): {
  begun: Promise<void>;
  done: Promise<CheckpointResult>;
} {
  const { begun, done } = checkpointer.checkpointNow();
  return { begun, done: done.then(checkpointResult) };
}

function checkpointResult(outcome: TakeOutcome): CheckpointResult {
  if (outcome.outcome === "skipped") {
    const { reason: skipped, because, lease = null } = outcome;
    return skipped === "leased" ? { skipped, because, lease } : { skipped };
  }
  const { name, manifest } = outcome.checkpoint;
  return { checkpoint: checkpointSummary({ ...manifest, name }) };
}
