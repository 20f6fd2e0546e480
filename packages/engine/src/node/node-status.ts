import { NOTHING_KNOWN } from "@cairn/checkpoint";
import { systemClock, CairnError, explainedError, withTimeout } from "@cairn/kv";
import type { Chains, NodeResources, NodeStatus } from "@cairn/client";
import { asFailure, asWarning } from "../observe/failures.ts";
import { allStores } from "../checkpoints/checkpoint-stores.ts";
import { withFindings } from "../findings/node-findings.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import type { IndexStore } from "../index/index-store.ts";
import { isoTime, VERSION } from "@cairn/text";
import type { LogBounds, TxLog } from "../log/tx-log.ts";
import type { NodeLife } from "./node-life.ts";
import type { NodeReadiness } from "../api/node-api.ts";
import type { System } from "../api/system.ts";

export interface ReportedState extends Pick<NodeStatus, "stalled">, Pick<NodeStatus["index"], "divergence"> {
  readonly logWarnings: NodeStatus["log"]["warnings"];
  readonly sharesId: boolean;
}

type StatusSystem = Pick<System, "checkpointer" | "restoreFrom" | "onLogMismatch">;

const INDEX = "The index";

/** The time for which /status waits for the log, which it then reports as unreachable, and for disks (ms). */
const ANSWER_MS = 2_000;

/** Returns the body of GET /status. What it asks the log and the disk for may fail, and never makes it fail. */
export async function nodeStatus(
  node: string,
  life: NodeLife,
  { stalled, divergence, logWarnings: warnings, sharesId }: ReportedState,
  system: StatusSystem,
  resources: NodeResources,
): Promise<NodeStatus> {
  // These values are read at one instant, before anything is awaited, so that a failed node is always reported with its
  // failure.
  const { reportedPhase: phase, identity, report, observation, failure, recovery, services } = life;
  // An attached node has no index of its own, on which others could rely.
  const index = life.index?.isReadOnly === true ? undefined : life.index;
  const [{ reachable, exists, bounds, problem }, files, chains] = await Promise.all([
    lookAtLog(life),
    indexFiles(index),
    newestChains(index),
  ]);
  const isReported =
    problem === undefined ||
    (problem === SILENT.problem && failure !== undefined) ||
    [failure, ...warnings].some((one) => one?.message === problem.message);
  // A log that has not been read yet may continue another one.
  const offset = identity && (identity.birth?.offset ?? index?.state.log.offset);
  // A log that was emptied still knows its last message.
  const isUnknown = bounds === undefined || offset === undefined;
  const lastTxId = isUnknown || bounds.last === 0 ? null : bounds.last + offset;
  const state = index?.state;
  const name = life.log?.name ?? life.logName;
  // If there is no log yet, an index may be of one that was configured before.
  const knownId = state?.log.name === name ? state?.log.id : undefined;
  const facts = {
    node,
    version: VERSION,
    phase,
    log: {
      name,
      location: life.log?.location ?? null,
      id: identity?.id ?? knownId ?? null,
      firstTxId: isUnknown || bounds.last < bounds.first ? null : bounds.first + offset,
      lastTxId,
      reachable,
      exists,
      backup: backupSource(life.log),
      refused: observation.refusals.refused,
      warnings: isReported ? warnings : [...warnings, problem],
    },
    index: {
      txId: state?.txId ?? null,
      txTime: state === undefined || state.time === 0 ? null : isoTime(state.time),
      documents: state?.documents ?? null,
      ...files,
      version: INDEX_VERSION,
      lag: lastTxId === null || state === undefined ? null : Math.max(0, lastTxId - state.txId),
      chains,
      divergence,
      lastScrub: observation.lastResults.scrub,
    },
    join: report.join,
    progress: report.progress,
    attached: life.attachment.status,
    ownIndexes: life.ownIndexes?.status ?? [],
    stalled,
    checkpoints: statusOfCheckpoints(services, life, system),
    logBackup: (state === undefined ? undefined : services?.logBackup?.status(state.txId)) ?? null,
    failure: failureStatus(failure, recovery),
    resources,
  };
  const { storeAhead, otherStores } = services?.checkpointer?.status() ?? NOTHING_KNOWN;
  return withFindings(facts, systemClock.now(), {
    different: system.onLogMismatch.different,
    storeAhead,
    otherStores,
    sharesId,
    files: observation.unusableFiles,
    certificate: observation.certificate,
    refusedConnections: observation.refusedConnections,
  });
}

/** Reads the phase and the rest at one instant. */
export async function nodeReadiness(
  life: NodeLife,
  { beyondLimit }: { readonly beyondLimit: () => Promise<number | undefined> },
): Promise<NodeReadiness> {
  const lag = life.phase === "ready" ? await beyondLimit() : undefined;
  const { reportedPhase: phase, report, failure, recovery } = life;
  return { phase, progress: report.progress, failure: failureStatus(failure, recovery), lag };
}

function failureStatus(
  failure: NodeLife["failure"],
  { retries, nextTryAt }: NodeLife["recovery"],
): NodeStatus["failure"] {
  if (failure === undefined) return null;
  return { ...asFailure(failure), retries, nextTryAt: nextTryAt === undefined ? null : isoTime(nextTryAt) };
}

function statusOfCheckpoints(
  services: NodeLife["services"],
  { report, observation: { lastResults } }: NodeLife,
  system: StatusSystem,
): NodeStatus["checkpoints"] {
  const options = system.checkpointer;
  const status = services?.checkpointer?.status() ?? NOTHING_KNOWN;
  const { storeAhead, lastCheckAt, nextCheckAt, running, skipped, warnings, lastFailure } = status;
  // Until the checkpointer has looked at the store, the restored checkpoint is the newest known one.
  const last = lastCheckAt === null ? report.restoredCheckpoint : status.last;
  const found = options?.store.describe?.();
  const verified = services?.upkeep.lastVerified ?? null;
  const own = lastResults.verified;
  const storeNow = systemClock.now() + (storeAhead ?? 0);
  const ageMs = (iso: string): number => Math.max(0, Math.round(storeNow - Date.parse(iso)));
  return {
    last: last && { ...last, ageMs: ageMs(last.takenAt) },
    lastSaved: lastResults.saved,
    // If another node verified the checkpoint, only the mark is known.
    lastVerified: verified && {
      ...verified,
      ageMs: ageMs(verified.verifiedAt),
      durationMs: verified.verifiedAt === own?.verifiedAt ? own.durationMs : null,
    },
    lastDrill: lastResults.drill,
    lastCheckAt: lastCheckAt === null ? null : isoTime(lastCheckAt),
    nextCheckAt: nextCheckAt === null ? null : isoTime(nextCheckAt),
    running: running && { ...running, startedAt: isoTime(running.startedAt) },
    skipped: skipped && { ...skipped, at: isoTime(skipped.at) },
    warnings: warnings.map((warning) => ({ ...warning, at: isoTime(warning.at) })),
    lastFailure: lastFailure && { ...lastFailure, at: isoTime(lastFailure.at) },
    approxFrequencyMs: options?.approxFrequency ?? null,
    locations: allStores(system).map(({ location }) => location),
    store:
      found === undefined || options === undefined ? null : { location: options.store.location, ...found },
  };
}

/**
 * Returns the location of the backup from which the node reads its log, and the age of the newest segment by this
 * machine's clock; null if the node does not read its log from a backup.
 */
function backupSource(log: TxLog | undefined): NodeStatus["log"]["backup"] {
  if (log?.backup === undefined) return null;
  const { location, newestAt } = log.backup;
  if (newestAt === undefined) return { location, newestSegmentAt: null, ageMs: null };
  const ageMs = Math.max(0, Math.round(systemClock.now() - newestAt));
  return { location, newestSegmentAt: isoTime(newestAt), ageMs };
}

/** Returns the current chains and the two newest links, so that nodes can be compared while they write. */
async function newestChains(index: IndexStore | undefined): Promise<Chains> {
  if (index === undefined) return [];
  const chains = await answerOf(index.chains(), INDEX);
  // The index may be closed in the meantime, or damaged; the next read will report the damage.
  return chains === undefined || chains instanceof CairnError ? [] : chains.slice(0, 3);
}

/** Returns what a log or a disk answers, or its error; undefined if it does not respond within two seconds. */
export async function answerOf<T>(
  asked: Promise<T>,
  subject = "The log",
): Promise<T | CairnError | undefined> {
  try {
    return (await withTimeout(asked, ANSWER_MS, null)) ?? undefined;
  } catch (error) {
    return explainedError(error, subject, `${subject} cannot be read`);
  }
}

const SILENT_DISK = new CairnError(
  "SYSTEM_REFUSED",
  `The files of the index could not be listed within ${ANSWER_MS / 1_000} s.`,
  { hint: "Check the disk and the kernel's log. Nothing was deleted or moved." },
);

interface LogLook extends Pick<NodeStatus["log"], "reachable" | "exists"> {
  readonly bounds?: LogBounds;
  readonly problem?: NodeStatus["log"]["warnings"][number];
}

/** A log that responds after an interruption may be another one; its bounds must not pass for the followed log's. */
const NOT_COMPARED: LogLook = {
  reachable: false,
  exists: null,
  problem: {
    code: "LOG_UNREACHABLE",
    message:
      "Reading the log was interrupted, and the node has not compared the log with its index again yet.",
    hint: "Wait a few seconds (cairn status --wait PT1M). The node then compares the log and continues to read it, or says why it cannot.",
  },
};

const SILENT: LogLook = {
  reachable: false,
  exists: null,
  problem: {
    code: "LOG_UNREACHABLE",
    message: `The log has not responded within ${ANSWER_MS / 1_000} s.`,
    hint: "Check the log's servers and the network. The node keeps trying to read the log.",
  },
};

/** Null means unknown. A log that has not been created yet or was deleted does not count as unreachable. */
async function lookAtLog(life: NodeLife): Promise<LogLook> {
  const { log, failure, identity } = life;
  const isAway = (): boolean => life.following?.isLogAway === true;
  const wasAway = isAway();
  // Opening the log is the first step, so only the log itself can be the obstacle.
  if (log === undefined) return { reachable: failure === undefined ? null : false, exists: null };
  const bounds = await answerOf(log.bounds());
  if (bounds === undefined) return SILENT;
  if (!(bounds instanceof CairnError)) {
    const known = life.following?.logProblem;
    if (known !== undefined) return { reachable: false, exists: null, problem: asWarning(known) };
    // The node may have noticed another log in the meantime.
    const isOther = identity !== undefined && life.identity !== identity;
    return wasAway || isAway() || isOther ? NOT_COMPARED : { reachable: true, exists: true, bounds };
  }
  // The code that uses the log reports the error, and the status contains it as `failure`.
  const { code } = bounds;
  if (code !== "LOG_UNREACHABLE") return { reachable: ANSWERING_CODES.has(code), exists: null };
  if ((await answerOf(log.exists())) === false) return { reachable: true, exists: false };
  return { reachable: false, exists: null, problem: asWarning(bounds) };
}

/** The codes of errors which mean that a server responds but has no usable log. */
const ANSWERING_CODES: ReadonlySet<string> = new Set(["CONFIG_INVALID", "LOG_DIFFERENT"]);

export async function indexFiles(
  index: IndexStore | undefined,
): Promise<Pick<NodeStatus["index"], "bytes" | "warning">> {
  if (index === undefined) return { bytes: null };
  const stats = (await answerOf(index.stats(), INDEX)) ?? SILENT_DISK;
  const { bytes, missing } = stats instanceof CairnError ? { bytes: null, missing: stats } : stats;
  // The index may have been closed, because the node is rebuilding it or stopping.
  return missing === undefined || missing.code === "NOT_READY"
    ? { bytes }
    : { bytes, warning: asWarning(missing) };
}
