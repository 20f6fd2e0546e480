import {
  type CheckpointStore,
  firstLookDelay,
  isNewer,
  listCheckpoints,
  nextLookDelay,
  readVerification,
  retryDelay,
} from "@cairn/checkpoint";
import {
  type Clock,
  CairnError,
  isCairnError,
  type KvProvider,
  jittered,
  type RepeatedWork,
  repeatWork,
} from "@cairn/kv";
import type { VerifiedSummary } from "@cairn/client";
import type { EventDispatcher } from "../observe/event-dispatcher.ts";
import { isReadable } from "../index/rows/index-state.ts";
import { isDamage } from "../observe/failures.ts";
import { mayContain } from "../log/anchor.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { OwnIndexes } from "../own-indexes/own-indexes.ts";
import { checkpointNotFound, verifyCheckpoint } from "../checkpoints/verify-checkpoint.ts";

export interface VerifierParts {
  readonly store: CheckpointStore;
  readonly logId: string;
  /** A checkpoint that the log does not continue cannot be the newest one. */
  readonly log?: TxLog;
  readonly provider: KvProvider;
  readonly stagingDir: string;
  readonly node: string;
  readonly events: EventDispatcher;
  readonly ownIndexes?: OwnIndexes | undefined;
  /** Called with whether the checkpoint can be restored, unless something else prevented the verification. */
  readonly onJudged?: ((name: string, whole: boolean) => void) | undefined;
  /** Checks the node's own index, which has perhaps the fault with which a checkpoint was saved. */
  readonly checkOwn?: ((signal: AbortSignal) => Promise<void>) | undefined;
}

interface DrillOptions extends VerifierParts {
  /** The approximate interval at which the cluster verifies a checkpoint, in milliseconds. */
  readonly every: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called after this node has verified a checkpoint, to read the other files that a restore may need. */
  readonly afterwards?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Called with the newest mark, whether a look found it or this node wrote it. */
  readonly onVerified: (last: VerifiedSummary, byThisNode: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** The time until the next look if there is no checkpoint yet, or a drill has failed, as a fraction of `every`. */
const SOON_PART = 0.1;
/** The tolerated difference between clocks. Some stores report their time in whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000;

/**
 * Ensures that the cluster verifies the log's newest checkpoint about once per period. Each node looks at the store at
 * a random instant, and verifies only if no mark is younger than the period.
 */
export function startRestoreDrill(options: DrillOptions): RepeatedWork {
  const { every, clock, random } = options;
  /** `looks` is the number of looks until the next drill. */
  const memory = { failures: 0, looks: 0, isUnfinished: false };
  const times = {
    firstDelay: firstLookDelay(every, random()),
    // An unreachable store may recover soon, whereas a checkpoint that cannot be restored remains unusable and is
    // expensive to read again. Meanwhile, looks find what other nodes have verified.
    retryDelay: (error: unknown) => {
      const isTransient = isCairnError(error, "STORE_UNREACHABLE", "LOG_UNREACHABLE");
      memory.failures = isTransient ? memory.failures + 1 : 0;
      memory.isUnfinished &&= isTransient;
      if (isTransient) return retryDelay(every, memory.failures, random());
      memory.looks = 1 / SOON_PART - 1;
      return jittered(every * SOON_PART, random);
    },
  };
  const work = async (signal: AbortSignal): Promise<number> => {
    const last = await drill(options, signal, memory);
    memory.failures = 0;
    memory.looks = last === undefined ? memory.looks - 1 : 0;
    // The first checkpoint of a log will be saved soon.
    if (last === undefined) return every * SOON_PART;
    return nextLookDelay({
      approxFrequency: every,
      newestTakenAt: Date.parse(last.verifiedAt),
      storeNow: last.storeNow,
      random: random(),
    });
  };
  return repeatWork(clock, times, work, options.onError);
}

/** Verifies and marks the checkpoint `name`, or the log's newest if `name` is undefined. Throws the errors of {@link verifyCheckpoint}. */
export async function verifyForNode(
  parts: VerifierParts,
  name: string | undefined,
  signal: AbortSignal,
): Promise<VerifiedSummary> {
  const { store, provider, stagingDir, node, events, log, ownIndexes } = parts;
  // A mistyped name is the caller's mistake. If it were reported as a failed drill, it would raise an alert.
  if (name !== undefined) {
    const { checkpoints, skipped } = await listCheckpoints(store);
    if (![...checkpoints, ...skipped].some((one) => one.name === name)) throw checkpointNotFound(store, name);
  }
  const { newest, unusable } = name === undefined ? await look(parts) : { newest: name };
  // An older one would hide that the newest cannot be used.
  const chosen =
    unusable !== undefined && (newest === undefined || isNewer(unusable, newest)) ? unusable : newest;
  if (chosen === undefined) {
    // A manifest that cannot be read does not show of which log it is.
    const unreadable = (await listCheckpoints(store)).skipped.find(({ logId }) => logId === undefined);
    const message = `There is no checkpoint of this log in ${store.location}.`;
    const hint = "Save a checkpoint with cairn checkpoint create once the log has a transaction.";
    throw unreadable?.error ?? new CairnError("CHECKPOINT_NOT_FOUND", message, hint);
  }
  return await events.observe("verification", async (run) => {
    const onProgress = ({ done }: { readonly done: number }): void => run.moved(done);
    const which = { store, name: chosen, provider, stagingDir, node, log, ownIndexes, signal, onProgress };
    try {
      const { manifest, digest, verification } = await verifyCheckpoint(which);
      parts.onJudged?.(chosen, true);
      const { verifiedAt } = verification;
      const verified = { name: chosen, txId: manifest.txId, verifiedAt, node, digest };
      run.ended({ outcome: "verified", verified });
      return verified;
    } catch (error) {
      if (isCairnError(error, "INDEX_CORRUPT")) await parts.checkOwn?.(signal);
      if (isDamage(error)) parts.onJudged?.(chosen, false);
      // Readers of /status did not choose the checkpoint.
      if (!isCairnError(error) || error.message.includes(chosen)) throw error;
      throw new CairnError(error.code, `${chosen}: ${error.message}`, { hint: error.hint, cause: error });
    }
  });
}

/** Returns the newest mark, and the store's time; undefined if there is none and none can be made now. */
async function drill(
  options: DrillOptions,
  signal: AbortSignal,
  memory: { readonly looks: number; isUnfinished: boolean },
): Promise<{ readonly verifiedAt: string; readonly storeNow: number } | undefined> {
  const { store, every } = options;
  const { newest, last } = await look(options);
  const storeNow = await store.now();
  const age = last === undefined ? Infinity : storeNow - Date.parse(last.verifiedAt);
  // A mark with a time in the future would suspend all drills until then. One by another node that is older than the
  // failure of this node's verification does not show that the failure is over.
  const isDue = age >= every * 0.9 || age < -CLOCK_TOLERANCE_MS || memory.isUnfinished;
  if (last !== undefined) options.onVerified(last, false);
  if (newest === undefined) return undefined;
  if (!isDue && last !== undefined) return { ...last, storeNow };
  if (memory.looks > 0) return undefined;
  memory.isUnfinished = true;
  const mine = await verifyForNode(options, newest, signal);
  memory.isUnfinished = false;
  options.onVerified(mine, true);
  await options.afterwards?.(signal);
  return { ...mine, storeNow: Date.parse(mine.verifiedAt) };
}

/**
 * Returns the newest checkpoint of the log that this node can restore, the newest that the store itself shows to be
 * unusable, and the newest mark of any checkpoint.
 */
async function look({ store, logId, log: txLog, provider }: VerifierParts): Promise<{
  newest: string | undefined;
  unusable: string | undefined;
  last: VerifiedSummary | undefined;
}> {
  const { checkpoints, skipped } = await listCheckpoints(store);
  const unusable = skipped.find((one) => one.logId === logId)?.name;
  const own = checkpoints.filter(
    ({ log, format }) => log.id === logId && isReadable(format, provider.format),
  );
  let last: VerifiedSummary | undefined;
  for (const listing of own) {
    const { name, txId, verified } = listing;
    const mark = verified ? await readVerification(store, name, listing) : undefined;
    if (mark === undefined || (last !== undefined && last.verifiedAt >= mark.verifiedAt)) continue;
    last = { name, txId, verifiedAt: mark.verifiedAt, node: mark.node, digest: mark.digest };
  }
  for (const one of own)
    if (txLog === undefined || (await mayContain(txLog, one))) return { newest: one.name, unusable, last };
  return { newest: undefined, unusable, last };
}
