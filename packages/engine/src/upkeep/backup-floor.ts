import type { CheckpointStore } from "@cairn/checkpoint";
import { BackupLog } from "../backup/backup-log.ts";
import { logWithBackup } from "../backup/log-with-backup.ts";
import {
  coveredRanges,
  listBackup,
  type SegmentFile,
  segmentsWith,
} from "../backup/segments/segment-name.ts";
import type { SegmentReads } from "../backup/write/segment-reads.ts";
import { anchorOf } from "../log/anchor.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { usableCheckpoint } from "./trim-floor.ts";

/** The log, and the stores whose backups are examined. */
export interface BackupFloorOptions {
  readonly log: TxLog;
  /** The stores that every node can read. */
  readonly stores: readonly CheckpointStore[];
  readonly kvFormat: string;
  /** The segments that have already been read. */
  readonly reads: SegmentReads;
  /** Aborts reading segments. */
  readonly signal?: AbortSignal | undefined;
}

/** The position up to which a backup replaces the log. The message at that position is in both. */
export interface BackupFloor {
  readonly position: number;
  /** The location of the backup's store. */
  readonly store: string;
  /** The reason why the position is not higher although the backup holds more; undefined if it does not hold more. */
  readonly stopped: string | undefined;
}

/**
 * Returns the position, at most `most`, up to which a backup holds everything that a node may need. The backup must
 * have no hole since the first transaction or since a verified checkpoint, and its segments must have been read back
 * and agree with the log. Returns undefined if no backup holds the log's first message.
 */
export async function findBackupFloor(
  options: BackupFloorOptions,
  identity: LogIdentity,
  most: number,
): Promise<BackupFloor | undefined> {
  let furthest: BackupFloor | undefined;
  for (const store of options.stores) {
    const floor = await floorIn(store, options, identity, most);
    if (floor !== undefined && floor.position > (furthest?.position ?? 0)) furthest = floor;
  }
  return furthest;
}

async function floorIn(
  store: CheckpointStore,
  options: BackupFloorOptions,
  identity: LogIdentity,
  most: number,
): Promise<BackupFloor | undefined> {
  const { log, reads, signal } = options;
  const { segments } = await listBackup(store, identity.id);
  reads.listed(store, segments);
  if (segments.length === 0) return undefined;
  const offset = identity.birth?.offset ?? (await new BackupLog({ store, logId: identity.id }).offset());
  if (offset === undefined) return undefined;
  const first = identity.bounds.first + offset;
  const range = coveredRanges(segments).find((one) => one.first <= first && first <= one.last);
  if (range === undefined) return undefined;
  const isWholeHistory = range.first === 1 && offset === 0;
  if (!isWholeHistory && !(await isAfterCheckpoint(store, options, identity))) return undefined;
  let position = identity.bounds.first;
  const at = (stopped?: string): BackupFloor => ({ position, store: store.location, stopped });
  let next = first;
  while (position < most && next <= range.last) {
    const segment = await wholeWith(store, segments, next, reads, signal);
    if (segment === undefined) return at(`No intact segment holds transaction ${next}.`);
    const agreed = await lastAgreed(log, segment, offset);
    if (agreed === undefined)
      return at(`Transaction ${segment.last} differs between the log and ${segment.name}.`);
    position = Math.min(agreed, most);
    next = segment.last + 1;
  }
  return at();
}

/** Returns whether a verified checkpoint for nodes of this version ends within what the log and the backup hold. */
async function isAfterCheckpoint(
  store: CheckpointStore,
  { log, stores, kvFormat }: BackupFloorOptions,
  identity: LogIdentity,
): Promise<boolean> {
  const usable = await usableCheckpoint(
    "oldest",
    { log: logWithBackup(log, [store]), stores, kvFormat },
    identity,
  );
  return "position" in usable;
}

async function wholeWith(
  store: CheckpointStore,
  segments: readonly SegmentFile[],
  txId: number,
  reads: SegmentReads,
  signal: AbortSignal | undefined,
): Promise<SegmentFile | undefined> {
  for (const segment of segmentsWith(segments, txId)) {
    if (await reads.isWhole(store, segment, signal)) return segment;
  }
  return undefined;
}

/** Returns the position of a segment's last message; undefined if the log holds a different message there. */
async function lastAgreed(log: TxLog, segment: SegmentFile, offset: number): Promise<number | undefined> {
  const position = segment.last - offset;
  const message = await log.fetch(position);
  return message !== undefined && anchorOf(message).sha256.startsWith(segment.end) ? position : undefined;
}
