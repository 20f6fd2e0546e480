import { dirname } from "node:path";
import {
  type System,
  anchorOfPrefix,
  checkAnchor,
  readLogIdentity,
  type TxLog,
  buildPlanned,
  placePast,
  type PastPlan,
  type PastPoint,
  planPast,
  beyondReach,
  logsIn,
} from "@cairn/engine";
import { type CairnError, isCairnError, levelProvider, unlessFailed } from "@cairn/kv";
import { isoTime, formatCount } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { type CheckpointPlace, theLog } from "../places/checkpoint-place.ts";
import { describeSource } from "../places/past-point.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { workFolder } from "../places/staging-folder.ts";
import { UsageError } from "../terminal/report-error.ts";
import { occupied, refusalFields, throwRefusal } from "./restore-plan.ts";

type RestoreRun = CommandRun<{ readonly log: string | undefined; readonly dryRun: boolean }>;

/**
 * Restores an index that ends exactly at a point, from a checkpoint and the transactions after it in a log backup or
 * the configured log. Returns false if neither reaches the point; the caller then restores a checkpoint alone.
 */
export async function restoreAt(
  run: RestoreRun,
  { store, name, system }: CheckpointPlace,
  at: PastPoint,
  target: string,
): Promise<boolean> {
  const { options, signal } = run;
  if (name !== undefined)
    throw new UsageError("--at-tx and --at choose a checkpoint, but one is already named.");
  const logs = await logsIn(store, signal);
  const logId = await theLog(store, logs, options.log);
  if (logId === undefined) return false;
  const wanted = { stores: [store], kvFormat: levelProvider().format, logId, at, signal };
  // If the log exists only as a backup, no checkpoint can be restored instead.
  return await withPlan(run, wanted, system, logs.get(logId) === "", async (plan, log) => {
    const last = `--at-tx ${plan.txId} restores the last transaction that can be reached.`;
    const beyond = beyondReach(plan, at, store.location, last);
    if (beyond !== undefined) throw beyond;
    if (plan.history === undefined) return false;
    const refusal = await occupied(target);
    if (options.dryRun) {
      const { txId, exact, checkpoint, source, segments } = plan;
      noticeUnsure(run, plan, at);
      const from = { checkpoint: checkpoint?.name ?? null, source: source ?? null, segments };
      await run.answer(
        { dryRun: true, txId, exact, ...from, target, refusal: refusalFields(refusal) },
        `would restore transaction ${formatCount(txId)} to ${target}, ${describeSource(plan)}`,
      );
      throwRefusal(refusal);
      return true;
    }
    if (refusal !== undefined) throw refusal;
    const planning: Parameters<typeof buildPlanned>[0] = async (found) =>
      found.checkpoints.size === 0 ? plan : await planPast({ ...wanted, log, found });
    const { plan: done, past } = await build(run, planning, plan, store, target);
    await noticeLostHistory(run, past.state, log, system);
    const { txId, digest, state } = past;
    noticeUnsure(run, done, at);
    const time = isoTime(state.time);
    await run.answer(
      { name: done.checkpoint?.name ?? null, txId, time, digest, exact: done.exact, directory: target },
      `restored transaction ${formatCount(txId)} (${time}) to ${target}, ${describeSource(done)}; digest ${digest}`,
    );
    return true;
  });
}

/** Runs `use` with a plan that leads to the point, if any. Opens the log only if its backup does not lead there. */
async function withPlan(
  run: RestoreRun,
  wanted: Parameters<typeof planPast>[0],
  system: System | undefined,
  isBackupOnly: boolean,
  use: (plan: PastPlan, log?: TxLog) => Promise<boolean>,
): Promise<boolean> {
  let damage: CairnError | undefined;
  try {
    const plan = await planned(wanted, isBackupOnly && system === undefined);
    if (plan?.exact === true || system === undefined) return plan === undefined ? false : await use(plan);
  } catch (error) {
    if (system === undefined || !isCairnError(error, "SEGMENT_CORRUPT")) throw error;
    damage = error;
  }
  let log: TxLog | undefined;
  try {
    log = await openLogOf(run, system);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    run.notice(`the log cannot be read, so only its backup is used: ${error.message}`);
  }
  const plan = await planned({ ...wanted, log }, isBackupOnly);
  if (damage !== undefined) {
    if (plan?.source !== "log") throw damage;
    run.notice(`the log itself is read, because its backup is damaged: ${damage.message}`);
  }
  return plan === undefined ? false : await use(plan, log);
}

/** If no plan leads to the point, returns undefined or, if `isLast` is set, throws the reason. */
async function planned(
  wanted: Parameters<typeof planPast>[0],
  isLast: boolean,
): Promise<PastPlan | undefined> {
  return await unlessFailed(planPast(wanted), isLast ? [] : "CHECKPOINT_NOT_FOUND", undefined);
}

async function openLogOf(run: RestoreRun, system: System): Promise<TxLog> {
  const log = await system.openTxLog({ signal: run.signal });
  run.defer(() => log.close());
  return log;
}

/** Builds the index next to the target, and moves it there. Reports damaged checkpoints, which it does without. */
async function build(
  run: RestoreRun,
  planning: Parameters<typeof buildPlanned>[0],
  { txId, checkpoint }: PastPlan,
  store: CheckpointPlace["store"],
  target: string,
): ReturnType<typeof buildPlanned> {
  const unpacking = showRestore(run, "restoring");
  const replaying = run.progress("replaying", txId, formatCount);
  const built = await buildPlanned(
    planning,
    {
      system: { nodeId: run.node, kvProvider: levelProvider(), checkpointer: { store } },
      dir: await workFolder(run, dirname(target), "restore"),
      signal: run.signal,
      onRestore: unpacking.onProgress,
      onProgress: (done) => {
        unpacking.stop();
        replaying.update((checkpoint?.txId ?? 0) + done, "transactions");
      },
    },
    ({ name, error: { code, message } }) => run.notice(`skipped ${name}: ${code}: ${message}`),
  );
  await placePast(built.past, target);
  return built;
}

/** Says so if a plan may not lead exactly to the requested point. */
function noticeUnsure(run: RestoreRun, { exact, txId }: PastPlan, at: PastPoint): void {
  if (exact) return;
  run.notice(
    "txId" in at
      ? `this is transaction ${txId} instead of ${at.txId}, because nothing leads to a later one up to that point.`
      : "the backup ends before that time. The log cannot be read and may hold later transactions.",
  );
}

/** Does nothing if the configured log cannot be read or is a different log. */
async function noticeLostHistory(
  run: RestoreRun,
  state: Awaited<ReturnType<typeof buildPlanned>>["past"]["state"],
  opened: TxLog | undefined,
  system: System | undefined,
): Promise<void> {
  try {
    const log = opened ?? (system && (await openLogOf(run, system)));
    if (log === undefined || (await readLogIdentity(log))?.id !== state.log.id) return;
    const problem = await checkAnchor(log, anchorOfPrefix(state));
    if (problem?.code === "LOG_REGRESSED")
      run.notice(
        `the log "${log.name}" no longer holds transaction ${state.txId} of its backup, so this index belongs to a history that the log has lost.`,
      );
  } catch (error) {
    if (!isCairnError(error)) throw error;
  }
}
