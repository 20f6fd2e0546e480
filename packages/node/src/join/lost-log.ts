import {
  type CheckpointStore,
  isKeyMissing,
  listCheckpoints,
  parseCheckpointName,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError, isCairnError } from "@cairn/kv";
import { furthestBackup } from "../backup/furthest-backup.ts";
import { listBackups } from "../backup/segments/segment-name.ts";
import { readLogIdentity } from "../log/log-identity.ts";
import { obsoleteLogs } from "../transactions/birth-record.ts";
import { latestFirst, type PastEnd, timeAtEnd } from "../replay/other-histories.ts";

/** A log that no longer exists, and what remains of it in stores: a checkpoint, a backup, or both. */
export interface LostLog {
  readonly id: string;
  /** The log's checkpoint whose last transaction is the latest. `store` is the store's location. */
  readonly checkpoint?: PastEnd & { readonly name: string; readonly store: string };
  /** The end of the log's backup, if it is beyond the checkpoint, or of a history that continued later. */
  readonly backup?: { readonly txId: TxId; readonly store: string };
  /** The log's newest checkpoint that cannot be used, if it is beyond both. */
  readonly unusable?: UnusableCheckpoint;
  /** When the log was begun (ms since 1970), if its backup shows that it continues another one. */
  readonly recoveredAt?: number;
}

/** A checkpoint whose manifest shows its log, although it cannot be used. */
export interface UnusableCheckpoint {
  readonly name: string;
  readonly txId: TxId;
  readonly store: string;
  readonly error: CairnError;
}

/**
 * Returns the log with this name (but not the id `exceptId`) whose remains in the stores reach furthest, including
 * checkpoints that cannot be used. A log that another log in the stores continues or replaces is ignored. Between two
 * recovered logs, the one begun later counts, even if the other reaches further. Throws `KEY_MISSING` if only a key shows
 * whether something else reaches further. Also throws the errors of the stores.
 */
export async function findLostLog(
  stores: readonly CheckpointStore[],
  name: string,
  exceptId?: string,
  signal?: AbortSignal,
): Promise<LostLog | undefined> {
  const found = new Map<string, LostLog>();
  const skipped: SkippedCheckpoint[] = [];
  for (const store of stores) {
    const listed = await listCheckpoints(store, signal);
    skipped.push(...listed.skipped);
    for (const { log, name: checkpoint, txId, txTime } of listed.checkpoints) {
      const end = { txId, time: Date.parse(txTime) };
      const known = found.get(log.id)?.checkpoint;
      if (log.name !== name || (known !== undefined && latestFirst(known, end) <= 0)) continue;
      found.set(log.id, { id: log.id, checkpoint: { name: checkpoint, ...end, store: store.location } });
    }
  }
  const continued = new Set<string>();
  for (const id of await backedUp(stores)) {
    const backup = await readBackup(stores, id);
    const known = found.get(id);
    if (backup === undefined || (known === undefined && backup.name !== name)) continue;
    if (id !== exceptId) for (const older of backup.obsolete) continued.add(older);
    const { txId, store, recoveredAt } = backup;
    const begun = recoveredAt === undefined ? {} : { recoveredAt };
    const isFurther = known?.checkpoint === undefined || (await isBeyond(backup, known.checkpoint));
    found.set(id, { ...known, id, ...begun, ...(isFurther ? { backup: { txId, store } } : {}) });
  }
  for (const one of skipped) {
    const { logId = "", logName, store, error } = one;
    const txId = parseCheckpointName(one.name)?.txId ?? 0;
    const known = found.get(logId);
    if (logId === exceptId || continued.has(logId) || txId <= reachOf(known)) continue;
    if (isKeyMissing(one, undefined)) throw mayBeOf(name, error);
    if (logName === name)
      found.set(logId, { ...known, id: logId, unusable: { name: one.name, txId, store, error } });
  }
  let newest: LostLog | undefined;
  for (const one of found.values()) {
    if (one.id === exceptId || continued.has(one.id)) continue;
    if (newest === undefined || isNewer(one, newest)) newest = one;
  }
  return newest;
}

/** Returns whether a backup ends after a checkpoint, or is of a history of the log that continued later. */
async function isBeyond({ txId, timeOfLast }: ReadBackup, checkpoint: PastEnd): Promise<boolean> {
  return txId > checkpoint.txId || ((await timeOfLast()) ?? 0) > checkpoint.time;
}

function isNewer(one: LostLog, other: LostLog): boolean {
  return one.recoveredAt !== undefined && other.recoveredAt !== undefined
    ? one.recoveredAt > other.recoveredAt
    : reachOf(one) > reachOf(other);
}

function reachOf(lost: LostLog | undefined): TxId {
  return lost === undefined ? -1 : (lost.unusable?.txId ?? lastOf(lost));
}

/** Returns the error for a checkpoint that may be of a lost log with this name, which only its key shows. */
function mayBeOf(name: string, { code, message, hint = "" }: CairnError): CairnError {
  return new CairnError(code, `${message} It may be of a log "${name}" that existed.`, {
    hint: `${hint} If it is of another cluster, configure a separate checkpoint store for this one. If its keys are lost, move its files out of the store.`,
  });
}

/** Returns the last usable transaction that the stores hold of a lost log. */
export function lastOf({ checkpoint, backup }: LostLog): TxId {
  return backup?.txId ?? checkpoint?.txId ?? 0;
}

async function backedUp(stores: readonly CheckpointStore[]): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const store of stores) for (const id of await listBackups(store)) ids.add(id);
  return ids;
}

interface ReadBackup {
  readonly name: string;
  readonly txId: TxId;
  readonly store: string;
  /** Returns the time of the last message; undefined if it cannot be read. */
  readonly timeOfLast: () => Promise<number | undefined>;
  readonly obsolete: readonly string[];
  readonly recoveredAt: number | undefined;
}

/** Returns undefined for a backup that cannot be read because it is damaged. */
async function readBackup(stores: readonly CheckpointStore[], id: string): Promise<ReadBackup | undefined> {
  try {
    const found = await furthestBackup(stores, id);
    if (found === undefined) return undefined;
    const identity = await readLogIdentity(found.log);
    const { log, last, store, offset } = found;
    const birth = identity?.birth;
    return {
      name: log.name,
      txId: last,
      store: store.location,
      timeOfLast: async () => await timeAtEnd(log, last - offset),
      obsolete: obsoleteLogs(birth),
      recoveredAt: birth?.continues === undefined ? undefined : (await log.fetch(1))?.time,
    };
  } catch (error) {
    if (isCairnError(error, "SEGMENT_CORRUPT") || isCairnError(error, "LOG_DIFFERENT")) return undefined;
    throw error;
  }
}
