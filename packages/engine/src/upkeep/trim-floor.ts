import {
  ARCHIVE_FORMATS,
  type CheckpointListing,
  type CheckpointStore,
  listCheckpoints,
  isNewer,
  readVerification,
} from "@cairn/checkpoint";
import { BackupLog } from "../backup/backup-log.ts";
import { isLastOf } from "../backup/segments/continuation.ts";
import { logWithBackup } from "../backup/log-with-backup.ts";
import {
  coveredRanges,
  listBackup,
  type SegmentFile,
  segmentsWith,
} from "../backup/segments/segment-name.ts";
import type { SegmentReads } from "../backup/write/segment-reads.ts";
import { isReadable } from "../index/rows/index-state.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { checkCheckpoint } from "../log/anchor.ts";
import type { TxLog } from "../log/tx-log.ts";

/** The checkpoint that replaces trimmed messages, and the position of its last message. That message is kept. */
export interface TrimFloor {
  readonly position: number;
  readonly checkpoint: { readonly name: string; readonly store: string; readonly txId: number };
}

export interface FloorOptions {
  readonly log: TxLog;
  readonly stores: readonly CheckpointStore[];
  readonly kvFormat: string;
  /** The segments of backups that have already been read and are not read again. */
  readonly reads: SegmentReads;
  readonly signal?: AbortSignal | undefined;
}

type SearchOptions = Pick<FloorOptions, "log" | "stores" | "kvFormat">;

interface Listed {
  readonly store: CheckpointStore;
  readonly listing: CheckpointListing;
}

/** Returns the stores that every node can read, or a sentence with the reason why there are none. */
export function sharedStores(
  stores: readonly CheckpointStore[],
): readonly CheckpointStore[] | { readonly refused: string } {
  const shared = stores.filter((store) => store.shared === true);
  if (shared.length > 0) return shared;
  if (stores.length === 0)
    return { refused: "No checkpointer is configured, so only the log contains its transactions." };
  const where = stores.map(({ location }) => location).join(", ");
  const refused = `The checkpoint store ${where} is not known to be shared by all nodes. If it is, set "shared-store": true on it.`;
  return { refused };
}

/**
 * Returns the oldest (or newest) verified checkpoint in the stores that a node of this version can restore and continue
 * from with `log`, or a sentence with the reason why there is none. The log may be combined with its backup.
 */
export async function usableCheckpoint(
  which: "oldest" | "newest",
  options: SearchOptions,
  identity: Pick<LogIdentity, "id" | "birth">,
): Promise<TrimFloor | { readonly refused: string }> {
  const listed: Listed[] = [];
  const refusals = new Map<string, number>();
  const refuse = (why: string): void => void refusals.set(why, (refusals.get(why) ?? 0) + 1);
  for (const store of options.stores) {
    const { checkpoints, skipped } = await listCheckpoints(store);
    listed.push(...checkpoints.map((listing) => ({ store, listing })));
    for (const { error } of skipped) refuse(error.code);
  }
  const sorted = listed.toSorted(oldestFirst);
  for (const one of which === "oldest" ? sorted : sorted.toReversed()) {
    const refusal = await refusalReason(options, identity, one);
    if (refusal !== undefined) {
      refuse(refusal);
      continue;
    }
    const { name, txId, anchor, log } = one.listing;
    return { position: anchor.txId - log.offset, checkpoint: { name, store: one.store.location, txId } };
  }
  if (refusals.size === 0) return { refused: "There is no checkpoint of this log yet." };
  const counts = [...refusals].map(([why, count]) => `${count} ${why}`).join(", ");
  const hint = refusals.has("not verified")
    ? "; cairn checkpoint verify, or verify-every, verifies them"
    : "";
  return { refused: `There is no checkpoint that every node could continue from: ${counts}${hint}.` };
}

async function refusalReason(
  { log, kvFormat }: SearchOptions,
  identity: Pick<LogIdentity, "id" | "birth">,
  one: Listed,
): Promise<string | undefined> {
  const { store, listing } = one;
  const { format, log: of } = listing;
  if (of.id !== identity.id) return "of another log";
  if (!isReadable(format, kvFormat) || !Object.values<string>(ARCHIVE_FORMATS).includes(format.archive))
    return "of another version";
  if (identity.birth !== undefined && identity.birth.offset !== of.offset) return "with another offset";
  if (!listing.verified || (await readVerification(store, listing.name, listing)) === undefined)
    return "not verified";
  const problem = await checkCheckpoint(log, listing);
  if (problem === undefined) return undefined;
  return problem.code === "LOG_TRIMMED"
    ? "older than the log's beginning"
    : "that the log does not agree with";
}

function oldestFirst({ listing: a }: Listed, { listing: b }: Listed): number {
  return isNewer(a.name, b.name) ? 1 : isNewer(b.name, a.name) ? -1 : 0;
}

/** The position up to which a backup replaces the log. The message at that position is in both. */
export interface BackupFloor {
  readonly position: number;
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
  options: FloorOptions,
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
  options: FloorOptions,
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
  if (!isWholeHistory) {
    // Otherwise, a verified checkpoint must end within what the log and the backup hold.
    const found = await usableCheckpoint(
      "oldest",
      { ...options, log: logWithBackup(log, [store]) },
      identity,
    );
    if ("refused" in found) return undefined;
  }
  let position = identity.bounds.first;
  const at = (stopped?: string): BackupFloor => ({ position, store: store.location, stopped });
  let next = first;
  while (position < most && next <= range.last) {
    let segment: SegmentFile | undefined;
    for (const one of segmentsWith(segments, next))
      if (segment === undefined && (await reads.isWhole(store, one, signal))) segment = one;
    if (segment === undefined) return at(`No intact segment holds transaction ${next}.`);
    const { name, last } = segment;
    const message = await log.fetch(last - offset);
    // Another node may have trimmed the log since its bounds were read. What is gone need not be compared.
    const isTrimmed = message === undefined && last - offset < (await log.bounds()).first;
    if (!isTrimmed && (message === undefined || !isLastOf(message, segment)))
      return at(`Transaction ${last} differs between the log and ${name}.`);
    position = Math.min(last - offset, most);
    next = last + 1;
  }
  return at();
}
