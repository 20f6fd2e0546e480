import type { CairnError } from "@cairn/kv";
import {
  buildPlanned,
  continueLog,
  isOwnStore,
  type PastIndex,
  type PastPlan,
  readLogIdentity,
  saveSeam,
  type System,
  tryMarkDamaged,
} from "@cairn/engine";
import { isoTime, formatCount, formatNumberOf, omitUndefined } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, type OptionValues, textValue } from "../options/option-specs.ts";
import { describeSource, POINT_OPTIONS, pointOf } from "../places/past-point.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { openLog, requireLogItself } from "../places/configured-system.ts";
import { workFolder } from "../places/staging-folder.ts";
import {
  type LeftBehind,
  leftBehind,
  type RecoveryPlace,
  whyNotReplaced,
  wouldLeave,
} from "./recovery-plan.ts";
import { type RecoverySource, recoverySource } from "./recovery-source.ts";

const RECOVER = {
  ...CONFIGURATION_OPTIONS,
  from: {
    ...textValue(
      "<place>",
      "continue from exactly this checkpoint (its name in the configured store, or a path) or this index (the db-dir of a node), or from what a folder or bucket of checkpoints and log backups leads to",
    ),
  },
  ...KEY_OPTIONS,
  ...POINT_OPTIONS,
  log: textValue("<id>", "the id of the lost log, if the stores contain several of the same name"),
  dryRun: flag("only print where the log would continue and which files would be read"),
  yes: flag("begin the log even if it lacks later transactions that are known"),
};

/** The checkpoint with which nodes join. */
type Saved = Pick<NonNullable<PastPlan["checkpoint"]>, "name" | "store">;

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
    const existing = await readLogIdentity(log);
    const place = { ...configured, existing };
    const isUsed = await whyNotReplaced(log, existing);
    if (isUsed !== undefined && !dryRun) throw isUsed;
    const signal = run.interruptible("no log was begun");
    const request = { ...omitUndefined({ at: pointOf(run.options), logId }), signal };
    const source = await recoverySource(run, place, from, request);
    const planned = await source.plan(new Map());
    const left = await leftBehind(place, source.own, planned);
    const leaves = left.holders.length > 0 && !yes ? wouldLeave(left, planned) : undefined;
    if (dryRun) return await writePlan(run, planned, log.name, left, isUsed ?? leaves);
    if (leaves !== undefined) throw leaves;
    const { plan, past } = await readPast(run, source, planned, system);
    const lost = plan.txId < planned.txId ? await leftBehind(place, source.own, plan) : left;
    if (lost.holders.length > 0 && !yes) throw wouldLeave(lost, plan);
    const seam = await saveSeam({
      plan,
      past,
      system,
      node: run.node,
      log,
      dir: workFolder(run, system.dir, "recover"),
      signal,
      onWaiting: (because) => run.notice(`${because} Waiting until it ends.`),
    });
    await begin(run, place, { ...plan, checkpoint: seam ?? plan.checkpoint }, past, lost);
  },
});

/** Builds the index with which nodes will join, so that the new log continues only a readable state. */
async function readPast(
  run: RecoverRun,
  { plan, stores }: RecoverySource,
  planned: PastPlan,
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
      async (found) => (found.size === 0 ? planned : await plan(found)),
      {
        system: { ...read, restoreFrom: stores },
        dir: workFolder(run, dir, "recover"),
        signal: run.signal,
        onProgress,
      },
      ({ name, error: { code, message } }, store) => {
        if (isOwn(store)) damaged.push(name);
        run.notice(`${name} cannot be used, and the next best checkpoint is tried: ${code}: ${message}`);
      },
    );
  } finally {
    reading.stop();
    if (checkpointer !== undefined) await tryMarkDamaged(checkpointer.store, damaged, nodeId);
  }
}

/** Begins the log in place of an unused one. `left` is what the lost log had after that point. */
async function begin(
  run: RecoverRun,
  { log, system, existing }: RecoveryPlace,
  { checkpoint, others }: Pick<PastPlan, "others"> & { readonly checkpoint: Saved | undefined },
  { state }: PastIndex,
  left: LeftBehind,
): Promise<void> {
  const { txId, sha256 } = state;
  const continues = { log: state.log.id, anchor: { txId, sha256 } };
  const { name, location = null } = log;
  const id = await continueLog(log, system, existing, continues);
  const at = location === null ? "" : ` at ${location}`;
  const after = `transaction ${formatCount(txId)} of ${continues.log}`;
  const next =
    log.peers === undefined
      ? "start the node to follow it"
      : "running nodes follow it within about 15 seconds; cairn status --wait PT1M waits for a node";
  const result = `began the log ${name} (id ${id})${at}, which continues after ${after}; ${next}`;
  await run.answer(
    {
      name,
      location,
      id,
      offset: txId,
      checkpoint: checkpoint?.name ?? null,
      store: checkpoint?.store ?? null,
      continues: { log: continues.log, txId },
      beyond: left.count,
      others: describeOthers(others),
    },
    [result, ...leftOut(left, others)].join("\n"),
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
  if (checkpoint !== undefined)
    run.notice(
      `${checkpoint.name} was not read back. If it turns out to be damaged, the command itself says so, and uses the next best checkpoint instead, which may end earlier.`,
    );
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
function leftOut({ count, holders }: LeftBehind, others: PastPlan["others"]): string[] {
  const known =
    `${formatNumberOf(count, "transaction")} after it ${count === 1 ? "is" : "are"} known but not in the new log (${holders.join("; ")}); ` +
    "nodes move indexes beyond it aside, and cairn log orphans prints the transactions that only those indexes contain";
  const histories = others.map(({ checkpoint, store, txId, time, isLater }) => {
    const why = isLater ? "" : ", which ended earlier";
    return `${checkpoint} in ${store} is left out: it ends with transaction ${formatCount(txId)} of ${isoTime(time)}, in another history of the lost log${why}; --from ${checkpoint} would continue that history instead`;
  });
  return [...(holders.length > 0 ? [known] : []), ...histories];
}
