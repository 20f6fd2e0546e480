import { dirname } from "node:path";
import type { SkippedCheckpoint } from "@cairn/checkpoint";
import {
  type System,
  anchorOfPrefix,
  checkAnchor,
  readLogIdentity,
  requireEmpty,
  type TxLog,
  buildPlanned,
  isUnusableSegment,
  type PastIndex,
  placePast,
  type PastPlan,
  type PastPoint,
  planPast,
  logsIn,
} from "@cairn/engine";
import { type CairnError, isCairnError, levelProvider } from "@cairn/kv";
import { isoTime, formatCount } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { type CheckpointPlace, noCheckpoint, theLog } from "../places/checkpoint-place.ts";
import { describeSource, BACKUP_PART, notReached } from "../places/past-point.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { workFolder } from "../places/staging-folder.ts";
import { UsageError } from "../terminal/report-error.ts";

type RestoreRun = CommandRun<{ readonly log: string | undefined }>;

/**
 * Restores an index that ends exactly at a point, from a checkpoint and the transactions after it in a log backup or
 * the configured log. Throws `CHECKPOINT_NOT_FOUND` if neither leads there.
 */
export async function restoreAt(
  run: RestoreRun,
  place: CheckpointPlace,
  at: PastPoint,
  target: string,
): Promise<void> {
  const { options, signal } = run;
  const { store, name, system } = place;
  if (name !== undefined)
    throw new UsageError("--at-tx and --at choose a checkpoint, but one is already named.");
  const logId = await theLog(place, await logsIn(store, signal), options.log);
  if (logId === undefined) throw noCheckpoint([store], undefined, []);
  await requireEmpty(target);
  const provider = levelProvider();
  const onSkipped = ({ name: skipped, error }: SkippedCheckpoint): void => run.passOver(skipped, error);
  const wanted = { stores: [store], kvFormat: provider.format, logId, at, onSkipped, signal };
  const openLog = system && logOf(run, system);
  const damaged: CairnError[] = [];
  const unpacking = showRestore(run, "restoring");
  const replaying = run.lateProgress("replaying", formatCount);
  const { plan, past } = await buildPlanned(
    exactPlanner(run, wanted, openLog, damaged),
    {
      system: { nodeId: run.node, kvProvider: provider, checkpointer: { store } },
      dir: await workFolder(run, dirname(target), "restore"),
      signal,
      onRestore: unpacking.onProgress,
      onProgress: (done, total) => {
        unpacking.stop();
        replaying.update(done, total, "transactions");
      },
      onSegment: (error) => void damaged.push(error),
    },
    onSkipped,
  );
  for (const error of damaged) run.passOver(BACKUP_PART, error);
  await placePast(past, target);
  if (openLog !== undefined) await noticeLostHistory(run, past, openLog);
  const { txId, digest, state } = past;
  const time = isoTime(state.time);
  await run.answer(
    { name: plan.checkpoint?.name ?? null, txId, time, digest, directory: target },
    `restored transaction ${formatCount(txId)} (${time}) to ${target}, ${describeSource(plan)}; digest ${digest}`,
  );
}

/**
 * Plans from the store and, if that does not lead exactly to the point, from the configured log. Throws the error of a
 * damaged segment if nothing leads there without it.
 */
function exactPlanner(
  run: RestoreRun,
  wanted: Parameters<typeof planPast>[0] & { readonly at: PastPoint },
  openLog: OpenLog | undefined,
  damaged: readonly CairnError[],
): Parameters<typeof buildPlanned>[0] {
  const { at, stores } = wanted;
  const exactly = (plan: Outcome<PastPlan>): PastPlan => {
    if (!isCairnError(plan) && plan.exact) return plan;
    if (damaged[0] !== undefined) throw damaged[0];
    if (isCairnError(plan)) throw plan;
    const last = `--at-tx ${plan.txId} restores the last earlier transaction that can be reached.`;
    throw notReached(plan, at, stores, last);
  };
  return async (found) => {
    const from = { ...wanted, found };
    const stored = await planned(from);
    if (openLog === undefined || (!isCairnError(stored) && stored.exact)) return exactly(stored);
    const log = await openLog();
    if (!isCairnError(log)) return exactly(await planned({ ...from, log }));
    run.notice(`the log cannot be read, so only its backup is used: ${log.message}`);
    return exactly(stored);
  };
}

async function planned(options: Parameters<typeof planPast>[0]): Promise<Outcome<PastPlan>> {
  const plan = await outcomeOf(planPast(options));
  // The plan is made again without that segment.
  if (isUnusableSegment(plan)) throw plan;
  return plan;
}

type Outcome<T> = T | CairnError;
type OpenLog = () => Promise<Outcome<TxLog>>;

/** Returns a function that opens the configured log once. */
function logOf(run: RestoreRun, system: System): OpenLog {
  let opening: Promise<Outcome<TxLog>> | undefined;
  const open = async (): Promise<TxLog> => {
    const log = await system.openTxLog({ signal: run.signal });
    run.defer(() => log.close());
    return log;
  };
  return async () => await (opening ??= outcomeOf(open()));
}

async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return await work;
  } catch (error) {
    if (isCairnError(error)) return error;
    throw error;
  }
}

/** Does nothing if the configured log cannot be read or is a different log. */
async function noticeLostHistory(run: RestoreRun, { state }: PastIndex, openLog: OpenLog): Promise<void> {
  const log = await openLog();
  if (isCairnError(log)) return;
  const identity = await outcomeOf(readLogIdentity(log));
  if (isCairnError(identity) || identity?.id !== state.log.id) return;
  const problem = await outcomeOf(checkAnchor(log, anchorOfPrefix(state)));
  if (isCairnError(problem, "LOG_REGRESSED"))
    run.notice(
      `the log "${log.name}" no longer holds transaction ${state.txId} of its backup, so this index belongs to a history that the log has lost.`,
    );
}
