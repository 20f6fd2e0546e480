import {
  type CheckpointStore,
  isKeyMissing,
  parseCheckpointName,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import { furthestBackup } from "../backup/furthest-backup.ts";
import { listBackups } from "../backup/segments/segment-name.ts";
import { type Candidates, listCandidates } from "../checkpoints/candidates.ts";
import { holdsTransactions } from "../index/rows/index-state.ts";
import { readLogIdentity } from "../log/log-identity.ts";
import { lastBackedUp } from "../replay/logs-in-store.ts";
import { findSuccessor } from "./old-copy.ts";
import { checkpointAlone, type PastPlan, planPast } from "../replay/past-plan.ts";
import { obsoleteLogs } from "../transactions/birth-record.ts";
import { requireKey, UNUSABLE_SEGMENT } from "../backup/segments/read-segment.ts";

export interface LostLog {
  readonly id: string;
  /** Where it would be continued; undefined if none of its remains can be used. */
  readonly plan: PastPlan | undefined;
  readonly command: string;
  /** The last transaction that its remains lead to; 0 if they lead nowhere. */
  readonly txId: TxId;
  /** The logs that logs in the stores have continued or replaced. */
  readonly obsolete: ReadonlySet<string>;
  /** What cannot be used and is beyond the plan: its newest such checkpoint or, without a plan, its backup. */
  readonly unusable: Unusable | undefined;
}

interface Unusable {
  readonly name: string;
  /** A clause that says what shows which transactions. */
  readonly shows: string;
  readonly txId: TxId;
  readonly error: CairnError;
}

interface LostLogOptions {
  readonly name: string;
  readonly kvFormat: string;
  readonly exceptId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The last transaction that is known of a log, and when the log was begun, if it continues another one. */
interface Reach {
  readonly txId: TxId;
  readonly recoveredAt: number | undefined;
  readonly backupIn: string | undefined;
}

/**
 * Returns the log with this name whose remains in the stores reach furthest, including checkpoints that cannot be used.
 * A log that another log in the stores continues or replaces, as far as they show, is ignored. Between two recovered
 * logs, the one begun later counts, even if the other reaches further. Throws `KEY_MISSING` if only a key shows whether
 * something else reaches further. Also throws the errors of the stores.
 */
export async function findLostLog(
  stores: readonly CheckpointStore[],
  options: LostLogOptions,
): Promise<LostLog | undefined> {
  const { name, exceptId } = options;
  const candidates = await listCandidates(stores, options);
  const reaches = new Map<string, Reach>();
  const extend = (id: string, txId: TxId, of: Partial<Reach> = reaches.get(id) ?? {}): void => {
    const { recoveredAt, backupIn } = of;
    reaches.set(id, { txId: Math.max(txId, reaches.get(id)?.txId ?? 0), recoveredAt, backupIn });
  };
  for (const { log, txId } of candidates.usable) if (log.name === name) extend(log.id, txId);
  const obsolete = new Set<string>();
  for (const id of new Set((await Promise.all(stores.map(async (one) => await listBackups(one)))).flat())) {
    // One that is damaged cannot be read.
    const backup = await unlessFailed(
      readBackup(stores, id),
      [...UNUSABLE_SEGMENT, "LOG_DIFFERENT"],
      undefined,
    );
    if (backup === undefined || (!reaches.has(id) && backup.name !== name)) continue;
    if (!holdsTransactions(Math.max(backup.txId, await lastBackedUp(stores, id)))) continue;
    if (id !== exceptId) for (const older of backup.obsolete) obsolete.add(older);
    extend(id, backup.txId, backup);
  }
  for (const one of candidates.skipped) {
    const { logId = "", logName, error } = one;
    if (logId === exceptId || obsolete.has(logId) || endOf(one) <= (reaches.get(logId)?.txId ?? -1)) continue;
    if (isKeyMissing(one, undefined)) {
      throw new CairnError(
        error.code,
        `${error.message} It may be of a log "${name}" that existed.`,
        `${error.hint ?? ""} If it is of another cluster, configure a separate checkpoint store for this one. If its keys are lost, move its files out of the store.`,
      );
    }
    if (logName === name) extend(logId, endOf(one));
  }
  let newest: [id: string, reach: Reach] | undefined;
  for (const one of reaches) {
    if (one[0] === exceptId || obsolete.has(one[0])) continue;
    const [mine, best] = [one[1], newest?.[1]];
    const [begun, bestBegun] = [mine.recoveredAt, best?.recoveredAt];
    const isNewer =
      begun !== undefined && bestBegun !== undefined ? begun > bestBegun : mine.txId > (best?.txId ?? -1);
    if (isNewer) newest = one;
  }
  if (newest === undefined) return undefined;
  // A backup may no longer hold the record of what its log continues, or there may be no backup. Checkpoints show it too.
  const laterThan = async (id: string): Promise<[string, Reach] | undefined> => {
    const next = (await findSuccessor(stores, { id }, undefined, options.signal))?.id ?? "";
    const reach = reaches.get(next);
    return reach === undefined || next === exceptId || obsolete.has(next) ? undefined : [next, reach];
  };
  for (let next = await laterThan(newest[0]); next !== undefined; next = await laterThan(newest[0])) {
    obsolete.add(newest[0]);
    newest = next;
  }
  return { ...(await remainsOf(...newest, stores, candidates, options)), obsolete };
}

function endOf({ name }: SkippedCheckpoint): TxId {
  return parseCheckpointName(name)?.txId ?? 0;
}

/** Plans as `cairn log recover` does, so that what it would do is what is said about it. */
async function remainsOf(
  id: string,
  { txId, backupIn }: Reach,
  stores: readonly CheckpointStore[],
  candidates: Candidates,
  { kvFormat, signal = new AbortController().signal }: LostLogOptions,
): Promise<Omit<LostLog, "obsolete">> {
  let plan: PastPlan | undefined;
  let command = "cairn log recover";
  let unusable: Unusable | undefined;
  try {
    plan = await planPast({ stores, kvFormat, logId: id, candidates, signal });
  } catch (error) {
    if (!isCairnError(error) || !UNPLANNED.has(error.code)) throw error;
    // The backup cannot be used, so the command must be told to continue without it.
    const newest = candidates.usable.find(({ log }) => log.id === id);
    if (newest !== undefined)
      [plan, command] = [checkpointAlone(newest), `cairn log recover --from ${newest.name}`];
    else if (backupIn !== undefined)
      unusable = { name: "the log backup", shows: `the log backup in ${backupIn} holds`, txId, error };
  }
  const end = plan?.txId ?? -1;
  const skipped = candidates.skipped.find((one) => one.logId === id && endOf(one) > end);
  if (skipped !== undefined) {
    const shows = `the manifest of checkpoint ${skipped.name} in ${skipped.store} shows`;
    unusable = { name: skipped.name, shows, txId: endOf(skipped), error: skipped.error };
  }
  return { id, plan, command, txId: plan?.txId ?? 0, unusable };
}

/** The errors of a plan that show that the stores lead nowhere, although something else may. */
const UNPLANNED: ReadonlySet<string> = new Set([
  "CHECKPOINT_NOT_FOUND",
  ...UNUSABLE_SEGMENT,
  "LOG_REGRESSED",
]);

export function holderOf({ plan, unusable }: LostLog): string {
  if (plan === undefined) return `${unusable?.shows} transactions up to ${unusable?.txId}`;
  const { checkpoint, backupIn, txId } = plan;
  const holder =
    backupIn === undefined
      ? `checkpoint ${checkpoint?.name} in ${checkpoint?.store}`
      : `the log backup in ${backupIn}`;
  return `${holder} holds transactions up to ${txId}`;
}

export function howToContinue({ plan, unusable, command }: LostLog): string {
  const { code, message, hint } = unusable?.error ?? {};
  const fault = `${code}: ${message}${hint === undefined ? "" : ` ${hint}`}`;
  if (plan === undefined) return `make ${unusable?.name} usable (${fault}), and run ${command}`;
  const further =
    unusable === undefined
      ? ""
      : `. Checkpoint ${unusable.name} ends with transaction ${unusable.txId}, but cannot be used (${fault})`;
  return `${continuing(command, plan.txId)}${further}`;
}

/** Returns what begins a log that continues the lost one, from the index that `from` names or from the stores, as a clause. */
export function continuing(command: string, txId: TxId, from = ""): string {
  return `run ${command}, which begins one that continues after transaction ${txId}${from}; the nodes follow it (with an embedded log, stop the node first)`;
}

async function readBackup(
  stores: readonly CheckpointStore[],
  id: string,
): Promise<(Reach & { readonly name: string; readonly obsolete: readonly string[] }) | undefined> {
  const found = await furthestBackup(stores, id);
  if (found === undefined) return undefined;
  const { log, last, store } = found;
  // Its older segments may be plain: of those after them, nothing can be continued without the key.
  await requireKey(store, await log.segments());
  const birth = (await readLogIdentity(log))?.birth;
  const recoveredAt = birth?.continues === undefined ? undefined : (await log.fetch(1))?.time;
  const backupIn = store.location;
  return { name: log.name, txId: last, obsolete: obsoleteLogs(birth), recoveredAt, backupIn };
}
