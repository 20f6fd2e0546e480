import { hostname } from "node:os";
import type { CairnError } from "@cairn/kv";
import {
  buildPlanned,
  checkpointAlone,
  continueLog,
  isOwnStore,
  type PastPlan,
  readLogIdentity,
  type System,
  tryMarkDamaged,
} from "@cairn/engine";
import { isoTime, formatCount, formatNumberOf, omitUndefined } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, type OptionValues, textValue } from "../options/option-specs.ts";
import { POINT_OPTIONS, pointOf } from "../places/past-point.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { openLog, requireLogItself } from "../places/configured-system.ts";
import { describeSource } from "../places/past-source.ts";
import { workFolder } from "../places/staging-folder.ts";
import { readSurvivor } from "./recovery-checkpoint.ts";
import { lastKnownTx, planRecovery, type RecoveryPlace, whyNotReplaced } from "./recovery-plan.ts";

const RECOVER = {
  ...CONFIGURATION_OPTIONS,
  from: {
    ...textValue(
      "<checkpoint>",
      "continue from exactly this checkpoint, given by its name in the configured store or by path (for a folder, the newest one)",
    ),
    conflicts: ["atTx", "at", "log"],
  },
  ...KEY_OPTIONS,
  ...POINT_OPTIONS,
  log: textValue("<id>", "the id of the lost log, if the stores contain several of the same name"),
  dryRun: flag("only print where the log would continue and which files would be read"),
};

type RecoverRun = CommandRun<OptionValues<typeof RECOVER>>;

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
    const { from, log: logId, dryRun } = run.options;
    const at = pointOf(run.options);
    const configured = await openLog(run);
    const { log, system } = configured;
    requireLogItself(log);
    const existing = await readLogIdentity(log);
    const place = { ...configured, existing };
    const refusal = await whyNotReplaced(log, existing);
    if (refusal !== undefined && !dryRun) throw refusal;
    if (from !== undefined) {
      const { name, store, manifest } = await readSurvivor(run, system, from);
      const { txId, sha256 } = manifest.anchor;
      const plan = checkpointAlone({ name, store, txId });
      if (dryRun) return await writePlan(run, plan, log.name, refusal);
      return await begin(run, place, plan, { log: manifest.log.id, anchor: { txId, sha256 } }, 0);
    }
    const signal = run.interruptible("no log was begun");
    const planning = async (found: ReadonlyMap<string, CairnError>): Promise<PastPlan> =>
      await planRecovery(place, { ...omitUndefined({ at, logId }), found, signal });
    if (dryRun) {
      const plan = await planning(new Map());
      await writePlan(run, plan, log.name, refusal);
      if (plan.checkpoint !== undefined)
        run.notice(
          `${plan.checkpoint.name} was not read back. If it turns out to be damaged, the command itself says so, and uses the next best checkpoint instead, which may end earlier.`,
        );
      return;
    }
    const { plan, past } = await readPast(run, planning, system);
    const { log: of, txId, sha256 } = past.state;
    const beyond = Math.max(0, (await lastKnownTx(place, of.id, plan)) - txId);
    await begin(run, place, plan, { log: of.id, anchor: { txId, sha256 } }, beyond);
  },
});

/** Builds and removes the index with which nodes will join, so that the new log continues only a readable state. */
async function readPast(
  run: RecoverRun,
  planning: Parameters<typeof buildPlanned>[0],
  system: System,
): ReturnType<typeof buildPlanned> {
  const { dir, checkpointer } = system;
  const nodeId = `cairn log recover on ${hostname()}`;
  const reading = run.lateProgress("reading back", formatCount);
  const onProgress = (done: number, total: number): void => reading.update(done, total, "transactions");
  const isOwn = isOwnStore(system);
  const damaged: string[] = [];
  try {
    return await buildPlanned(
      planning,
      { system: { ...system, nodeId }, dir: workFolder(run, dir, "recover"), signal: run.signal, onProgress },
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

/** Begins the log in place of an unused one. `beyond` is how many transactions the lost log had after that point. */
async function begin(
  run: RecoverRun,
  { log, system, existing }: RecoveryPlace,
  { checkpoint, others }: PastPlan,
  continues: Parameters<typeof continueLog>[3],
  beyond: number,
): Promise<void> {
  const { txId } = continues.anchor;
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
      beyond,
      others: describeOthers(others),
    },
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
function leftOut(beyond: number, others: PastPlan["others"]): string[] {
  const known =
    `${formatNumberOf(beyond, "transaction")} after it ${beyond === 1 ? "is" : "are"} known but not in the new log; ` +
    "nodes move indexes beyond it aside, and cairn log orphans prints the transactions that only those indexes contain";
  const histories = others.map(({ checkpoint, store, txId, time, isLater }) => {
    const why = isLater ? "" : ", which ended earlier";
    return `${checkpoint} in ${store} is left out: it ends with transaction ${formatCount(txId)} of ${isoTime(time)}, in another history of the lost log${why}; --from ${checkpoint} would continue that history instead`;
  });
  return [...(beyond > 0 ? [known] : []), ...histories];
}
