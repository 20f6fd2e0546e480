import { isDeepStrictEqual } from "node:util";
import type { SkippedCheckpoint } from "@cairn/checkpoint";
import { type CairnError, isCairnError } from "@cairn/kv";
import {
  buildPlanned,
  continueLog,
  holdsTransactions,
  isOwnStore,
  type LeftBehind,
  type PastIndex,
  type PastPlan,
  readLogIdentity,
  restoreStores,
  saveSeam,
  type System,
  tryMarkDamaged,
} from "@cairn/engine";
import { isoTime, formatCount, formatNumberOf, omitUndefined } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, type OptionValues, textValue } from "../options/option-specs.ts";
import { BACKUP_PART, describeSource, POINT_OPTIONS, pointOf } from "../places/past-point.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { openLog, requireLogItself } from "../places/configured-system.ts";
import { workFolder } from "../places/staging-folder.ts";
import { saveOverGap } from "./over-gap.ts";
import {
  leavesBehind,
  type RecoveryPlace,
  requireTransactions,
  whyNotReplaced,
  wouldLeave,
} from "./recovery-plan.ts";
import { type RecoverySource, recoverySource } from "./recovery-source.ts";

const RECOVER = {
  ...CONFIGURATION_OPTIONS,
  from: textValue(
    "<place>",
    "continue from exactly this checkpoint (its name in the configured store, or a path) or this index (the db-dir of a node), or from what a folder or bucket of checkpoints and log backups leads to",
  ),
  ...KEY_OPTIONS,
  ...POINT_OPTIONS,
  log: textValue("<id>", "the id of the lost log, if the stores contain several of the same name"),
  dryRun: flag("only print where the log would continue, what would be read, and what it would lack"),
  yes: flag("begin the log even if it lacks later transactions that are known"),
  overGap: {
    ...flag(
      "keep the log, and save a checkpoint beyond messages that are missing inside it, from which nodes continue",
    ),
    conflicts: ["from", "at", "atTx", "log", "dryRun", "yes"],
  },
};

/** The checkpoint is the one with which nodes join. */
interface BegunPlan extends Pick<PastPlan, "others"> {
  readonly checkpoint: Pick<NonNullable<PastPlan["checkpoint"]>, "name" | "store"> | undefined;
}

type RecoverRun = CommandRun<OptionValues<typeof RECOVER>>;

export const addLogRecover = command({
  syntax: "recover",
  description:
    "Begin a new log that continues a lost one from the furthest of its checkpoints, its backup and this node's index, or from an earlier transaction",
  examples: [
    "cairn log recover -f cairn.edn --dry-run",
    "cairn log recover --from checkpoint-43-2026-11-20T07-47-12.080Z-0dfc87ab -f cairn.edn",
    "cairn log recover --at-tx 1199 -f cairn.edn",
  ],
  options: RECOVER,
  async act(run) {
    const { from, log: logId, dryRun, yes } = run.options;
    const configured = await openLog(run);
    const { log, system } = configured;
    requireLogItself(log);
    if (run.options.overGap) {
      const stores = restoreStores(system);
      return await saveOverGap(run, configured, (plan) => readPast(run, { plan, stores }, system));
    }
    const existing = await readLogIdentity(log);
    const place = { ...configured, existing };
    const isUsed = await whyNotReplaced(log, existing);
    const isRecovered = existing?.birth?.continues !== undefined;
    if (isUsed !== undefined && !isRecovered && !dryRun) throw isUsed;
    const signal = run.interruptible("no log was begun");
    const onSkipped = ({ name, error }: SkippedCheckpoint): void => run.passOver(name, error);
    const request = { ...omitUndefined({ at: pointOf(run.options), logId }), onSkipped, signal };
    const source = await recoverySource(run, place, from, request);
    const built = await readPast(run, source, system).catch((error: unknown) => {
      throw !dryRun && isUsed !== undefined && isCairnError(error) ? isUsed : error;
    });
    const { plan, past } = built;
    if (isUsed === undefined || dryRun) requireTransactions(past.state);
    else if (!holdsTransactions(past.state.txId)) throw isUsed;
    const { txId, sha256, log: of } = past.state;
    const continues = { log: of.id, anchor: { txId, sha256 } };
    if (existing !== undefined && isDeepStrictEqual(existing.birth?.continues, continues))
      return await writeBegun(run, place, existing.id, built);
    const left = await leavesBehind(run, place, source, built);
    for (const error of left.damaged) run.passOver(BACKUP_PART, error);
    const leaves = left.holders.length > 0 && !yes ? wouldLeave(left, plan) : undefined;
    if (dryRun) return await writePlan(run, plan, log.name, left, isUsed ?? leaves);
    if (isUsed !== undefined) throw isUsed;
    if (leaves !== undefined) throw leaves;
    const seam = await saveSeam({
      plan,
      past,
      system,
      node: run.node,
      log,
      dir: await workFolder(run, system.dir, "recover"),
      signal,
      onWaiting: (because) => run.notice(`${because} Waiting until it ends.`),
    });
    const id = await continueLog(log, system, existing, { continues, replaced: left.replaced });
    await writeBegun(run, place, id, { past, plan: { ...plan, checkpoint: seam ?? plan.checkpoint } }, left);
  },
});

/** Builds the index with which nodes will join, so that the new log continues only a readable state. */
async function readPast(
  run: RecoverRun,
  { plan, stores }: Pick<RecoverySource, "plan" | "stores">,
  system: System,
): ReturnType<typeof buildPlanned> {
  const { dir, checkpointer } = system;
  const nodeId = run.node;
  const reading = run.lateProgress("reading back", formatCount);
  const onProgress = (done: number, total: number): void => reading.update(done, total, "transactions");
  const isOwn = isOwnStore(system);
  const damaged: string[] = [];
  const read = { ...system, nodeId, checkpointer: checkpointer && { ...checkpointer, restoreFrom: stores } };
  try {
    return await buildPlanned(
      plan,
      {
        system: { ...read, restoreFrom: stores },
        dir: await workFolder(run, dir, "recover"),
        signal: run.signal,
        onProgress,
        onSegment: (error) => run.passOver(BACKUP_PART, error),
      },
      ({ name, error }, store) => {
        if (isOwn(store)) damaged.push(name);
        run.passOver(name, error);
      },
    );
  } finally {
    reading.stop();
    if (checkpointer !== undefined && !run.options.dryRun)
      await tryMarkDamaged(checkpointer.store, damaged, nodeId);
  }
}

/** Writes which log was begun. Without `left`, an earlier run of the command had begun it. */
async function writeBegun(
  run: RecoverRun,
  { log }: RecoveryPlace,
  id: string,
  { plan: { checkpoint, others }, past: { state } }: { readonly plan: BegunPlan; readonly past: PastIndex },
  left?: LeftBehind,
): Promise<void> {
  const { name, location = null, peers } = log;
  const { txId } = state;
  const at = location === null ? "" : ` at ${location}`;
  const after = `transaction ${formatCount(txId)} of ${state.log.id}`;
  const next =
    peers === undefined
      ? "start the node to follow it"
      : "running nodes follow it within about 15 seconds; cairn status --wait PT1M waits for a node";
  const result =
    left === undefined
      ? `the log ${name} (id ${id})${at} already continues after ${after}; nothing was changed`
      : `began the log ${name} (id ${id})${at}, which continues after ${after}; ${next}`;
  await run.answer(
    {
      name,
      location,
      id,
      offset: txId,
      checkpoint: checkpoint?.name ?? null,
      store: checkpoint?.store ?? null,
      continues: { log: state.log.id, txId },
      beyond: left?.count ?? 0,
      others: describeOthers(others),
    },
    [result, ...(left === undefined ? [] : leftOut(left, others))].join("\n"),
  );
}

async function writePlan(
  run: RecoverRun,
  plan: PastPlan,
  name: string,
  left: LeftBehind,
  refusal: CairnError | undefined,
): Promise<void> {
  const { txId, exact, checkpoint, segments, source, others, index } = plan;
  const refused = refusal === undefined ? null : { code: refusal.code, message: refusal.message };
  const from = { checkpoint: checkpoint?.name ?? null, source: source ?? null, segments };
  const result = `would begin the log ${name}, which continues after transaction ${formatCount(txId)}: ${describeSource(plan)}`;
  const known = { beyond: left.count, others: describeOthers(others) };
  await run.answer(
    { dryRun: true, name, txId, exact, ...from, index: index?.place ?? null, ...known, refusal: refused },
    [result, ...leftOut(left, others)].join("\n"),
  );
  if (refusal !== undefined)
    run.notice(`without --dry-run, this would be refused now: ${refusal.message} ${refusal.hint}`);
}

function describeOthers(others: PastPlan["others"]): object[] {
  return others.map(({ checkpoint, store, txId, time }) => ({
    checkpoint,
    store,
    txId,
    time: isoTime(time),
  }));
}

/** Returns lines about what the new log does not contain: later transactions, and other histories of the lost log. */
function leftOut({ count, isAtMost, holders }: LeftBehind, others: PastPlan["others"]): string[] {
  const number = `${isAtMost ? "up to " : ""}${formatNumberOf(count, "transaction")}`;
  const known =
    `${number} after it ${count === 1 ? "is" : "are"} known but not in the new log (${holders.join("; ")}); ` +
    "nodes move indexes beyond it aside, and cairn log orphans prints the transactions that only those indexes contain, and with --from-backup those of a log backup";
  const histories = others.map(({ checkpoint, store, txId, time, isLater }) => {
    const why = isLater ? "" : ", which ended earlier";
    return `${checkpoint} in ${store} is left out: it ends with transaction ${formatCount(txId)} of ${isoTime(time)}, in another history of the lost log${why}; --from ${checkpoint} would continue that history instead`;
  });
  return [...(holders.length > 0 ? [known] : []), ...histories];
}
