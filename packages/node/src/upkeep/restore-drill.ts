import {
  type CheckpointStore,
  type Clock,
  DAMAGE_CODES,
  firstLookDelay,
  listCheckpoints,
  nextLookDelay,
  readVerification,
  retryDelay,
} from "@cairn/checkpoint";
import { CairnError, isCairnError, type KvProvider } from "@cairn/kv";
import type { VerifiedSummary } from "@cairn/client";
import type { NodeEvents } from "../observe/node-events.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import { checkAnchor } from "../log/anchor.ts";
import type { TxLog } from "../log/tx-log.ts";
import { type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";
import { noCheckpoint, verifyCheckpoint } from "../checkpoints/verify-checkpoint.ts";

/** The newest verification of a log's checkpoints. */
export type LastVerified = VerifiedSummary;

/** Which checkpoints a node verifies, and with what. */
export interface VerifierParts {
  readonly store: CheckpointStore;
  readonly logId: string;
  /** What is verified is compared with it, and what it lost is not the newest. */
  readonly log?: TxLog;
  readonly provider: KvProvider;
  readonly stagingDir: string;
  readonly node: string;
  readonly events: NodeEvents;
  /** Told whether the checkpoint that was read back can be restored; not when something else hindered that. */
  readonly onJudged?: (name: string, whole: boolean) => void;
}

/** What a restore drill works with. */
export interface DrillOptions extends VerifierParts {
  /** About how often the cluster verifies a checkpoint (ms). */
  readonly every: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Told of the newest mark that a look found, by whichever node, or that this node made. */
  readonly onVerified: (last: LastVerified, byThisNode: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** A part of `every`. */
const SOON_PART = 0.1;
/** Stores that tell their time in whole seconds: less is no difference. */
const INEXACT_MS = 2_000;

/**
 * Verifies the log's newest checkpoint about once a period, whichever node does it: looks at the store at a random instant, and
 * acts only when no mark is younger than the period.
 */
export function startRestoreDrill(options: DrillOptions): RepeatedWork {
  const { every, clock, random } = options;
  let failures = 0;
  const times = {
    firstDelay: firstLookDelay(every, random()),
    // A store that is away comes back; a checkpoint that cannot be restored stays so, and reading it again costs much.
    retryDelay: (error: unknown) => {
      const isPassing = isCairnError(error, "STORE_UNREACHABLE") || isCairnError(error, "LOG_UNREACHABLE");
      failures = isPassing ? failures + 1 : 0;
      return isPassing ? retryDelay(every, failures, random()) : every * (0.9 + 0.2 * random());
    },
  };
  const work = async (signal: AbortSignal): Promise<number> => {
    const delay = await drill(options, signal);
    failures = 0;
    return delay;
  };
  return repeatWork(clock, times, work, options.onError);
}

/** Verifies and marks the checkpoint `name`, or the log's newest. Errors as in {@link verifyCheckpoint}. */
export async function verifyForNode(
  parts: VerifierParts,
  name: string | undefined,
  signal: AbortSignal,
): Promise<LastVerified> {
  const { store, provider, stagingDir, node, events, log } = parts;
  // A mistyped name is the caller's mistake. Counted as a failed drill it would raise an alert.
  if (name !== undefined && !(await isListed(store, name))) throw noCheckpoint(store, name);
  const chosen = name ?? (await look(parts)).newest;
  if (chosen === undefined) {
    throw new CairnError("CHECKPOINT_NOT_FOUND", `There is no checkpoint of this log in ${store.location}.`, {
      hint: "cairn checkpoint create saves one, once the log has a transaction.",
    });
  }
  return await events.observe("verification", async (run) => {
    const onProgress = ({ done }: { readonly done: number }): void => run.moved(done);
    const which = { store, name: chosen, provider, stagingDir, node, log, signal };
    const { manifest, digest, verification } = await naming(
      chosen,
      judging(parts, chosen, verifyCheckpoint({ ...which, onProgress })),
    );
    const { verifiedAt } = verification;
    const verified = { name: chosen, txId: manifest.txId, verifiedAt, node, digest };
    run.ended({ outcome: "verified", verified });
    return verified;
  });
}

async function isListed(store: CheckpointStore, name: string): Promise<boolean> {
  const { checkpoints, skipped } = await listCheckpoints(store);
  return [...checkpoints, ...skipped].some((one) => one.name === name);
}

async function judging<T>({ onJudged }: VerifierParts, name: string, work: Promise<T>): Promise<T> {
  try {
    const found = await work;
    onJudged?.(name, true);
    return found;
  } catch (error) {
    if (isCairnError(error) && DAMAGE_CODES.has(error.code)) onJudged?.(name, false);
    throw error;
  }
}

/** An error says which checkpoint it is about, since whoever reads of it in /status did not ask for that one. */
async function naming<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isCairnError(error) || error.message.includes(name)) throw error;
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    throw new CairnError(error.code, `${name}: ${error.message}`, { ...hint, cause: error });
  }
}

async function drill(options: DrillOptions, signal: AbortSignal): Promise<number> {
  const { store, every } = options;
  const { newest, last } = await look(options);
  const storeNow = await store.now();
  const age = last === undefined ? Infinity : storeNow - Date.parse(last.verifiedAt);
  // A mark from the future says nothing of when it was made; waiting for that future would end all drills until then.
  const isDue = age >= every * 0.9 || age < -INEXACT_MS;
  if (last !== undefined) options.onVerified(last, false);
  // Soon: the first checkpoint of a log is about to be saved.
  if (newest === undefined) return every * SOON_PART;
  if (!isDue && last !== undefined) return nextDelay(options, last, storeNow);
  const mine = await verifyForNode(options, newest, signal);
  options.onVerified(mine, true);
  return nextDelay(options, mine, Date.parse(mine.verifiedAt));
}

/** The log's newest checkpoint that this node could restore, and the newest mark of any. */
async function look({ store, logId, log: txLog, provider }: VerifierParts): Promise<{
  newest: string | undefined;
  last: LastVerified | undefined;
}> {
  const { checkpoints } = await listCheckpoints(store);
  const own = checkpoints.filter(
    ({ log, format }) => log.id === logId && format.index === INDEX_VERSION && format.kv === provider.format,
  );
  let last: LastVerified | undefined;
  for (const { name, txId, verified, archive } of own) {
    const mark = verified ? await readVerification(store, name, archive) : undefined;
    if (mark === undefined || (last !== undefined && last.verifiedAt >= mark.verifiedAt)) continue;
    last = { name, txId, verifiedAt: mark.verifiedAt, node: mark.node, digest: mark.digest };
  }
  for (const { name, anchor, log } of own) {
    const position = anchor.txId - log.offset;
    const problem =
      txLog === undefined ? undefined : await checkAnchor(txLog, { position, sha256: anchor.sha256 });
    if (problem === undefined || problem.code === "LOG_TRIMMED") return { newest: name, last };
  }
  return { newest: undefined, last };
}

function nextDelay(
  { every, random }: DrillOptions,
  last: LastVerified | undefined,
  storeNow: number,
): number {
  return nextLookDelay({
    approxFrequency: every,
    newestTakenAt: last === undefined ? undefined : Date.parse(last.verifiedAt),
    storeNow,
    random: random(),
  });
}
