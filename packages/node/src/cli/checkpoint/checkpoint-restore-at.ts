import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { CairnError, isCairnError, levelProvider } from "@cairn/kv";
import { checkAnchor } from "../../log/anchor.ts";
import { hasLogId } from "../../log/log-identity.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { buildPast, type PastIndex, placePast } from "../../replay/past-index.ts";
import { type PastOptions, type PastPlan, type PastPoint, planPast } from "../../replay/past-plan.ts";
import { beyondReach } from "../../replay/past-reach.ts";
import { latestOf, logsIn } from "../../replay/restored-index.ts";
import { isoTime } from "../../text/iso-time.ts";
import type { CommandRun } from "../options/command.ts";
import { type CheckpointPlace, theLog } from "../places/checkpoint-place.ts";
import { describeSource } from "../places/past-source.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { formatCount } from "../../text/quantities.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable } from "../terminal/terminal.ts";
import { occupied } from "./restore-plan.ts";

type RestoreRun = CommandRun<{
  readonly name: string | undefined;
  readonly log: string | undefined;
  readonly dryRun: boolean;
}>;

/**
 * Restores an index that ends exactly at a given point. The index is built from a checkpoint and the transactions after
 * it, which are read from a log backup or the configured log. Returns false if neither the backup nor the log reaches
 * that point; the caller then restores a checkpoint alone.
 */
export async function restoreAt(
  run: RestoreRun,
  found: CheckpointPlace,
  at: PastPoint,
  target: string,
): Promise<boolean> {
  const { store } = found;
  const { options } = run;
  if (found.name !== undefined || options.name !== undefined)
    throw new UsageError("--at-tx and --at choose a checkpoint, but one is already named.");
  const signal = run.interruptible("nothing was restored");
  const logs = await logsIn(store, signal);
  // The earlier logs that a recovered log continues are part of its history.
  const meant = options.log === undefined ? await latestOf(store, logs) : logs;
  const logId = theLog(store, meant, options.log);
  if (logId === undefined) return false;
  // The log exists only as a backup, so no checkpoint can be restored instead.
  const isBackupOnly = logs.get(logId) === "";
  const wanted = { stores: [store], kvFormat: levelProvider().format, logId, at, signal };
  return await withPlan(run, wanted, found, isBackupOnly, async (plan) => {
    const last = `--at-tx ${plan.txId} restores the last transaction that can be reached.`;
    const beyond = beyondReach(plan, at, store.location, last);
    if (beyond !== undefined) throw beyond;
    if (plan.history === undefined) return false;
    const refusal = await occupied(target);
    if (options.dryRun) await writePlan(run, plan, at, target, refusal);
    else if (refusal !== undefined) throw refusal;
    else await restorePlanned(run, plan, at, found, target);
    return true;
  });
}

/**
 * Runs `use` with a plan if one leads to the point. The configured log is opened only if its backup ends before the
 * point, or if a damaged segment keeps the backup from leading there.
 */
async function withPlan(
  { terminal }: RestoreRun,
  wanted: PastOptions,
  { openLog }: CheckpointPlace,
  isBackupOnly: boolean,
  use: (plan: PastPlan) => Promise<boolean>,
): Promise<boolean> {
  let damage: CairnError | undefined;
  try {
    const plan = await planned(wanted, isBackupOnly && openLog === undefined);
    if (plan?.exact === true || openLog === undefined) return plan === undefined ? false : await use(plan);
  } catch (error) {
    if (openLog === undefined || !isCairnError(error, "SEGMENT_CORRUPT")) throw error;
    damage = error;
  }
  let log;
  try {
    log = await openLog({ signal: wanted.signal });
  } catch (error) {
    if (!isCairnError(error)) throw error;
    terminal.stderr.write(`notice: the log cannot be read, so only its backup is used: ${error.message}\n`);
  }
  try {
    const further = await planned({ ...wanted, log }, isBackupOnly);
    if (damage !== undefined) {
      if (further?.source !== "log") throw damage;
      terminal.stderr.write(
        `notice: the log itself is read, because its backup is damaged: ${printable(damage.message)}\n`,
      );
    }
    return further === undefined ? false : await use(further);
  } finally {
    await log?.close();
  }
}

/** If no plan leads to the point, returns undefined or, if `isLast` is set, throws the reason. */
async function planned(wanted: PastOptions, isLast: boolean): Promise<PastPlan | undefined> {
  try {
    return await planPast(wanted);
  } catch (error) {
    if (!isLast && isCairnError(error, "CHECKPOINT_NOT_FOUND")) return undefined;
    throw error;
  }
}

async function restorePlanned(
  run: RestoreRun,
  plan: PastPlan,
  at: PastPoint,
  { store, openLog }: CheckpointPlace,
  target: string,
): Promise<void> {
  const { terminal, signal } = run;
  // The work folder is next to the target, because the last step is a rename, which works only within one file system.
  const work = join(dirname(target), `.cairn-restore-${randomBytes(4).toString("hex")}`);
  run.defer(() => rm(work, { recursive: true, force: true }));
  const unpacking = showRestore(terminal, "restoring");
  run.defer(unpacking.stop);
  const replaying = run.progress("replaying", plan.txId, formatCount);
  const built = await buildPast({
    plan,
    system: {
      nodeId: `cairn checkpoint restore on ${hostname()}`,
      kvProvider: levelProvider(),
      checkpointer: { store },
    },
    dir: work,
    signal,
    onRestore: unpacking.onProgress,
    onProgress: (done) => {
      unpacking.stop();
      replaying.update((plan.checkpoint?.txId ?? 0) + done, "transactions");
    },
  });
  await placePast(built, target);
  await noticeLostHistory(run, built.state, openLog);
  const { txId, digest, state } = built;
  const { exact, checkpoint } = plan;
  if (!exact) terminal.stderr.write(unsure(plan, at));
  const time = isoTime(state.time);
  await run.answer(
    { name: checkpoint?.name ?? null, txId, time, digest, exact, directory: target },
    `restored transaction ${formatCount(txId)} (${time}) to ${target}, ${describeSource(plan)}; digest ${digest}`,
  );
}

/** Returns the notice for a plan that may not lead exactly to the requested point. */
function unsure({ txId }: PastPlan, at: PastPoint): string {
  return "txId" in at
    ? `notice: this is transaction ${txId} instead of ${at.txId}, because nothing leads to a later one up to that point.\n`
    : "notice: the backup ends before that time. The log cannot be read and may hold later transactions.\n";
}

async function writePlan(
  run: RestoreRun,
  plan: PastPlan,
  at: PastPoint,
  target: string,
  refusal: CairnError | undefined,
): Promise<void> {
  const { txId, exact, checkpoint, source, segments } = plan;
  if (!exact) run.terminal.stderr.write(unsure(plan, at));
  const refused = refusal === undefined ? null : { code: refusal.code, message: refusal.message };
  const from = { checkpoint: checkpoint?.name ?? null, source: source ?? null, segments };
  await run.answer(
    { dryRun: true, txId, exact, ...from, target, refusal: refused },
    `would restore transaction ${formatCount(txId)} to ${target}, ${describeSource(plan)}`,
  );
  if (refusal === undefined) return;
  const { code, message } = refusal;
  throw new CairnError(code, message, { hint: "Remove the cause, then run the command without --dry-run." });
}

/** Does nothing if the configured log cannot be read or is a different log. */
async function noticeLostHistory(
  { terminal, signal }: RestoreRun,
  { log: of, txId, sha256 }: PastIndex["state"],
  openLog: CheckpointPlace["openLog"],
): Promise<void> {
  let log: TxLog | undefined;
  try {
    log = await openLog?.({ signal });
    if (log === undefined || !(await hasLogId(log, of.id))) return;
    const problem = await checkAnchor(log, { position: txId - of.offset, sha256 });
    if (problem?.code !== "LOG_REGRESSED") return;
    terminal.stderr.write(
      `notice: the log "${log.name}" no longer holds transaction ${txId} of its backup, so this index belongs to a history that the log has lost\n`,
    );
  } catch (error) {
    if (!isCairnError(error)) throw error;
  } finally {
    await log?.close();
  }
}
