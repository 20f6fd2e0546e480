import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CairnError, isCairnError } from "@cairn/kv";
import { isUnused, type LogIdentity, readLogIdentity, usedLog } from "../../log/log-identity.ts";
import type { System } from "../../api/system.ts";
import { readLineages, replacedLogs } from "../../backup/backup-lineage.ts";
import { isOwnStore, restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import { tryMarkDamaged } from "../../checkpoints/verify-checkpoint.ts";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import type { ContinuedLog } from "../../transactions/birth-record.ts";
import { encodeBirthRecord } from "../../transactions/transaction-codec.ts";
import { buildPlanned } from "../../replay/past-index.ts";
import type { OtherHistory } from "../../replay/other-histories.ts";
import { checkpointAlone, type PastPlan } from "../../replay/past-plan.ts";
import { isoTime } from "../../text/iso-time.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { formatCount, formatNumberOf } from "../../text/quantities.ts";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, type OptionValues, textValue } from "../options/option-specs.ts";
import { POINT_OPTIONS, pointOf } from "../options/past-point.ts";
import { KEY_OPTIONS } from "../options/store-keys.ts";
import { requireLogItself, withLog } from "../places/log-place.ts";
import { describeSource } from "../places/past-source.ts";
import type { ProgressDisplay } from "../terminal/progress-display.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable } from "../terminal/terminal.ts";
import { findSurvivor } from "./recovery-checkpoint.ts";
import { lastKnownTx, planRecovery, whyNotReplaced } from "./recovery-plan.ts";

const RECOVER = {
  ...CONFIGURATION_OPTIONS,
  from: textValue(
    "<checkpoint>",
    "continue from exactly this checkpoint, given by its name in the configured store or by path (for a folder, the newest one)",
  ),
  ...KEY_OPTIONS,
  ...POINT_OPTIONS,
  log: textValue("<id>", "the id of the lost log, if the stores contain several of the same name"),
  dryRun: flag("only print where the log would continue and which files would be read"),
};

type RecoverRun = CommandRun<OptionValues<typeof RECOVER>>;

/** Returns the plan that does without checkpoints that turned out to be damaged. */
type Planning = Parameters<typeof buildPlanned>[0];

/** Where the new log begins, and the unused log that it replaces, if there is one. */
interface RecoveryPlace {
  readonly log: TxLog;
  readonly system: System;
  readonly existing: LogIdentity | undefined;
}

/** The point at which the new log continues the lost one. */
interface Continuation {
  readonly continues: ContinuedLog;
  /** The checkpoint that ends at that point or, if there is none, the newest one before it; null if none is needed. */
  readonly checkpoint: string | null;
  readonly store: string | null;
  /** The number of transactions that the lost log is known to have held after that point. */
  readonly beyond: number;
  /** Checkpoints of other histories of the lost log, which the new log does not continue. */
  readonly others: readonly OtherHistory[];
}

export const addLogRecover = command({
  syntax: "recover",
  description:
    "Begin a new log that continues a lost one from the end of its backup or its newest checkpoint, or from an earlier transaction",
  examples: [
    "cairn log recover -f cairn.edn --dry-run",
    "cairn log recover --from checkpoint-43-2026-11-20T07-47-12.080Z-0dfc87ab -f cairn.edn",
    "cairn log recover --at-tx 1199 -f cairn.edn",
  ],
  options: RECOVER,
  async act(run) {
    const { options, terminal } = run;
    const at = pointOf(options);
    const { from, log: logId, dryRun } = options;
    if (from !== undefined && (at !== undefined || logId !== undefined))
      throw new UsageError("--from cannot be combined with another option that chooses where to continue.");
    await withLog(options, terminal, async (log, system) => {
      requireLogItself(log);
      const existing = await readLogIdentity(log);
      const place = { log, system, existing };
      const refusal = await whyNotReplaced(log, existing);
      if (refusal !== undefined && !dryRun) throw refusal;
      if (from !== undefined) {
        const found = await ofCheckpoint(run, system, from);
        if (dryRun) return await writePlan(run, checkpointAlone(found), log.name, refusal);
        return await write(run, await replace(place, found));
      }
      const signal = run.interruptible("no log was begun");
      const planning: Planning = async (damaged) =>
        await planRecovery(log, system, existing, {
          ...omitUndefined({ at, logId }),
          found: damaged,
          signal,
        });
      if (dryRun) return await writePlan(run, await planning(new Map()), log.name, refusal);
      await write(run, await replace(place, await readPast(run, planning, place)));
    });
  },
});

async function ofCheckpoint(
  { options, terminal }: RecoverRun,
  system: System,
  from: string,
): Promise<Continuation & NonNullable<PastPlan["checkpoint"]>> {
  const { name, store, manifest } = await findSurvivor(system, from, options, terminal);
  const { txId, sha256 } = manifest.anchor;
  const continues = { log: manifest.log.id, anchor: { txId, sha256 } };
  return { name, txId, continues, checkpoint: name, store, beyond: 0, others: [] };
}

/**
 * Builds the index with which nodes will join, and removes it again, so that the new log continues only from a readable
 * state. Marks damaged checkpoints.
 */
async function readPast(
  run: RecoverRun,
  planning: Planning,
  { log, system, existing }: RecoveryPlace,
): Promise<Continuation> {
  const { terminal, signal } = run;
  const { dir, checkpointer } = system;
  const nodeId = `cairn log recover on ${hostname()}`;
  const work = join(dir, `.cairn-recover-${randomBytes(4).toString("hex")}`);
  let reading: ProgressDisplay | undefined;
  const onProgress = (done: number, total: number): void => {
    reading ??= run.progress("reading back", total, formatCount);
    reading.update(done, "transactions");
  };
  const isOwn = isOwnStore(system);
  const damaged: string[] = [];
  try {
    const { plan, past } = await buildPlanned(
      planning,
      { system: { ...system, nodeId }, dir: work, signal, onProgress },
      ({ name, error: { code, message } }, store) => {
        if (isOwn(store)) damaged.push(name);
        const reason = `${name} cannot be used, and the next best checkpoint is tried: ${code}: ${message}`;
        terminal.stderr.write(`notice: ${printable(reason)}\n`);
      },
    );
    const { log: of, txId, sha256 } = past.state;
    const { checkpoint, others } = plan;
    return {
      continues: { log: of.id, anchor: { txId, sha256 } },
      checkpoint: checkpoint?.name ?? null,
      store: checkpoint?.store ?? null,
      beyond: Math.max(0, (await lastKnownTx(log, of.id, existing, plan)) - txId),
      others,
    };
  } finally {
    reading?.stop();
    if (checkpointer !== undefined) await tryMarkDamaged(checkpointer.store, damaged, nodeId);
    await rm(work, { recursive: true, force: true });
  }
}

/** Begins the log. If an unused log exists, it is replaced. */
async function replace({ log, system, existing }: RecoveryPlace, found: Continuation) {
  if (existing !== undefined && isUnused(existing)) await log.removeUnused?.(existing.id);
  const { continues, checkpoint, store, beyond, others } = found;
  const { txId } = continues.anchor;
  const replaces = await replacedBy(system, continues.log);
  const birth = { offset: txId, deliberate: true, continues, ...(replaces.length > 0 && { replaces }) };
  await log.create((id) => encodeBirthRecord({ log: id, ...birth }));
  const identity = await readLogIdentity(log);
  // If several such commands run at the same time, only one of them creates the log. The others succeed only if the log
  // that it created continues from the point that they chose.
  if (identity === undefined || !isDeepStrictEqual(identity.birth?.continues, continues)) {
    throw usedLog(log.name, identity?.bounds.last ?? 0);
  }
  const { id } = identity;
  return {
    name: log.name,
    location: log.location ?? null,
    id,
    offset: txId,
    checkpoint,
    store,
    continues: { log: continues.log, txId },
    beyond,
    others,
    isShared: log.peers !== undefined,
  };
}

/** If a store cannot be read, returns none, and the times at which the logs were begun decide. */
async function replacedBy(system: System, continued: string): Promise<string[]> {
  try {
    return replacedLogs(await readLineages(restoreStores(system)), continued);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return [];
  }
}

async function write(
  run: RecoverRun,
  { isShared, others, ...begun }: Awaited<ReturnType<typeof replace>>,
): Promise<void> {
  const { name, location, id, continues, beyond } = begun;
  const place = location === null ? "" : ` at ${location}`;
  const after = `transaction ${formatCount(continues.txId)} of ${continues.log}`;
  const next = isShared
    ? "running nodes follow it within about 15 seconds; cairn status --wait PT1M waits for a node"
    : "start the node to follow it";
  const result = `began the log ${name} (id ${id})${place}, which continues after ${after}; ${next}`;
  await run.answer(
    { ...begun, others: describeOthers(others) },
    [result, ...leftOut(beyond, others)].join("\n"),
  );
}

async function writePlan(
  run: RecoverRun,
  plan: PastPlan,
  name: string,
  refusal: CairnError | undefined,
): Promise<void> {
  const { txId, exact, checkpoint, segments, source, known, others } = plan;
  const beyond = Math.max(0, known - txId);
  const refused = refusal === undefined ? null : { code: refusal.code, message: refusal.message };
  const from = { checkpoint: checkpoint?.name ?? null, source: source ?? null, segments };
  const result = `would begin the log ${name}, which continues after transaction ${formatCount(txId)}: ${describeSource(plan)}`;
  await run.answer(
    { dryRun: true, name, txId, exact, ...from, beyond, others: describeOthers(others), refusal: refused },
    [result, ...leftOut(beyond, others)].join("\n"),
  );
  if (refusal !== undefined)
    run.terminal.stderr.write(
      `notice: without --dry-run, this would be refused now: ${refusal.message} ${refusal.hint}\n`,
    );
}

function describeOthers(others: readonly OtherHistory[]): object[] {
  return others.map(({ checkpoint, store, txId, time }) => ({
    checkpoint,
    store,
    txId,
    time: isoTime(time),
  }));
}

/** Returns lines about what the new log does not contain: later transactions, and other histories of the lost log. */
function leftOut(beyond: number, others: readonly OtherHistory[]): string[] {
  const known =
    `${formatNumberOf(beyond, "transaction")} after it ${beyond === 1 ? "is" : "are"} known but not in the new log; ` +
    "nodes move indexes beyond it aside, and cairn log orphans prints the transactions that only those indexes contain";
  const histories = others.map(({ checkpoint, store, txId, time, isLater }) => {
    const why = isLater ? "" : ", which ended earlier";
    return `${checkpoint} in ${store} is left out: it ends with transaction ${formatCount(txId)} of ${isoTime(time)}, in another history of the lost log${why}; --from ${checkpoint} would continue that history instead`;
  });
  return [...(beyond > 0 ? [known] : []), ...histories];
}
