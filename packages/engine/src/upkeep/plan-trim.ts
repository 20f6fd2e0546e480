import type { CheckpointStore } from "@cairn/checkpoint";
import { systemClock, CairnError } from "@cairn/kv";
import { isoDurationText } from "@cairn/text";
import { SegmentReads } from "../backup/write/segment-reads.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { LogBounds, TxLog } from "../log/tx-log.ts";
import {
  type BackupFloor,
  findBackupFloor,
  type FloorOptions,
  sharedStores,
  type TrimFloor,
  usableCheckpoint,
} from "./trim-floor.ts";
import { recordTrim } from "./trim-record.ts";

export interface TrimOptions extends Omit<FloorOptions, "reads"> {
  /** The age (ms, relative to the newest message) below which messages are kept. If undefined, age does not count. */
  readonly keep?: number | undefined;
  readonly reads?: SegmentReads | undefined;
  /** Returns the time (ms since 1970). Defaults to this machine's clock. */
  readonly now?: () => number;
}

export interface TrimPlan {
  readonly log: string;
  readonly first: number;
  readonly last: number;
  /** The first message that is kept. It equals `first` if nothing may be trimmed. */
  readonly upTo: number;
  /** The checkpoint that contains the trimmed messages; null if the log's backup does, or if nothing is trimmed. */
  readonly checkpoint: { readonly name: string; readonly store: string; readonly txId: number } | null;
  /** The backup that contains the trimmed messages; null if a checkpoint does, or if nothing is trimmed. */
  readonly backup: { readonly store: string } | null;
  readonly because: string;
}

/**
 * Plans how far the log may be trimmed now. The limit is the last message of the oldest checkpoint on which nodes can
 * rely, or the message up to which the log's backup holds everything that they may need. That message is kept, and so
 * are all that `keep` protects. Reads the segments of the backup that would replace the trimmed messages. Throws
 * `NOT_FOUND` if there is no log, `CONFIG_INVALID` if the log cannot be trimmed, `LOG_UNREACHABLE` or
 * `STORE_UNREACHABLE`.
 */
export async function planTrim(options: TrimOptions): Promise<TrimPlan> {
  const { log } = options;
  if (log.trim === undefined)
    throw new CairnError(
      "CONFIG_INVALID",
      `The log "${log.name}" cannot be trimmed.`,
      "Remove trim from cairn/tx-log. Only logs on NATS and embedded logs can be trimmed.",
    );
  const identity = await readLogIdentity(log);
  if (identity === undefined)
    throw new CairnError(
      "NOT_FOUND",
      `There is no log "${log.name}" there yet.`,
      "Check the log's address and name. Nothing was trimmed.",
    );
  const { first, last } = identity.bounds;
  const nothing = { log: log.name, first, last, upTo: first, checkpoint: null, backup: null };
  if ((await log.id()) !== identity.id) {
    const because =
      "Only the first message contains the id of the log, without which nodes could not recognize the log.";
    return { ...nothing, because };
  }
  const stores = sharedStores(options.stores);
  if ("refused" in stores) return { ...nothing, because: stores.refused };
  const usable = await usableCheckpoint("oldest", { ...options, stores }, identity);
  const young = await firstYoung(options, identity.bounds);
  const { reads = new SegmentReads() } = options;
  const backup = await findBackupFloor({ ...options, stores, reads }, identity, young);
  if (backup !== undefined && isFurther(backup, usable, identity.bounds, young))
    return planFor(options, identity, backup.position, young, { backup });
  if ("refused" in usable) return { ...nothing, because: becauseOf(usable.refused, backup) };
  return planFor(options, identity, usable.position, young, { checkpoint: usable.checkpoint });
}

interface TrimRequest extends TrimOptions {
  readonly recordIn?: CheckpointStore | undefined;
  readonly dryRun?: boolean;
  /**
   * Whether the log may begin where it does, whatever removed the messages before, if a checkpoint or a backup replaces
   * them. Defaults to false.
   */
  readonly acceptsBeginning?: boolean;
}

/** Trims according to {@link planTrim} (unless `dryRun`), and returns the plan. */
export async function trimLog(options: TrimRequest): Promise<TrimPlan> {
  const { log, recordIn, signal, dryRun = false, acceptsBeginning = false } = options;
  const plan = await planTrim(options);
  const { first, upTo, checkpoint, backup } = plan;
  const isReplaced = checkpoint !== null || backup !== null;
  if (dryRun || (upTo === first && !(acceptsBeginning && isReplaced))) return plan;
  const logId = await log.id();
  // The record comes first: other nodes must not take a trim for a loss.
  if (log.hasOneWriter !== true && recordIn !== undefined && logId !== undefined)
    await recordTrim(recordIn, logId, upTo);
  // The node may have left this log while a store did not respond, and another log may have taken its place.
  signal?.throwIfAborted();
  if (upTo > first) await log.trim?.(upTo);
  return plan;
}

/**
 * Returns whether a trim would remove nothing, because the log's first message is at most `keep` (ms) older than the
 * last one, or would remove little, because it is older than `keep` by less than `pause` (ms), as after a trim by another
 * node. In a large cluster, only one of the nodes therefore needs to ask the stores. A clock that shows an earlier time
 * than the message is wrong, and decides nothing.
 */
export async function isTooYoungToTrim(
  log: Pick<TxLog, "bounds" | "fetch">,
  keep: number,
  pause: number,
): Promise<boolean> {
  const { first, last } = await log.bounds();
  const [oldest, newest] = [await log.fetch(first), await log.fetch(last)];
  if (oldest === undefined || newest === undefined) return false;
  const age = systemClock.now() - oldest.time;
  return newest.time - oldest.time <= keep || (age >= 0 && age < keep + pause);
}

function isFurther(
  { position, stopped }: BackupFloor,
  usable: TrimFloor | { readonly refused: string },
  { first }: LogBounds,
  young: number,
): boolean {
  if ("position" in usable) return position > Math.min(usable.position, young);
  return position > first || stopped === undefined;
}

function planFor(
  { log, keep = 0 }: TrimOptions,
  { bounds }: LogIdentity,
  position: number,
  young: number,
  by: { readonly checkpoint: TrimFloor["checkpoint"] } | { readonly backup: BackupFloor },
): TrimPlan {
  // A checkpoint may end directly before the log's first message.
  const upTo = Math.max(bounds.first, Math.min(position, young));
  const age = isoDurationText(keep);
  const holder =
    "checkpoint" in by ? { ...by, backup: null } : { checkpoint: null, backup: { store: by.backup.store } };
  const limit =
    "checkpoint" in by
      ? `Message ${position} is the last one in ${by.checkpoint.name}, the oldest checkpoint that is verified.`
      : becauseOf(`Message ${position} is the last one in the log backup in ${by.backup.store}.`, by.backup);
  // The last message is kept regardless of its age.
  const isYoung = upTo === young && (upTo < position || young < bounds.last);
  const because = isYoung ? `Message ${upTo} and those after it are younger than ${age}.` : limit;
  return { log: log.name, first: bounds.first, last: bounds.last, upTo, ...holder, because };
}

function becauseOf(why: string, backup: BackupFloor | undefined): string {
  return backup?.stopped === undefined
    ? why
    : `${why} ${backup.stopped} cairn log backup verify shows what is wrong with the backup.`;
}

/**
 * Returns the first position younger than `keep`, else the last. Ages are relative to the newest message or this
 * machine's clock, whichever is earlier, so that a fast clock does not trim recent messages.
 */
async function firstYoung(
  { log, keep, now = systemClock.now }: TrimOptions,
  { first, last }: LogBounds,
): Promise<number> {
  if (keep === undefined) return last;
  const reference = Math.min(now(), (await log.fetch(last))?.time ?? 0);
  const isYoung = async (position: number): Promise<boolean> => {
    const message = await log.fetch(position);
    return message !== undefined && message.time > reference - keep;
  };
  let [low, high] = [first, last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await isYoung(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
