import type { CheckpointListing, CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { anchorOf } from "../../log/anchor.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { differentHistories, segmentPlace } from "../segments/continuation.ts";
import { reachedBy } from "../segments/backup-view.ts";
import { readSegment } from "../segments/read-segment.ts";
import { corruptSegment, type Segment } from "../segments/segment.ts";
import {
  beginOfBackup,
  coveredRanges,
  holesOf,
  listBackup,
  type SegmentFile,
  type TxRange,
} from "../segments/segment-name.ts";
import { unreadable } from "./segment-reads.ts";

export interface VerifySegmentsOptions {
  readonly store: CheckpointStore;
  readonly logId: string;
  /** If present, each segment's last message is compared with the log's, unless the log has trimmed it. */
  readonly log?: TxLog | undefined;
  /** Checkpoints of this log. Their last transactions are compared with those in the segments. */
  readonly checkpoints: readonly Pick<CheckpointListing, "name" | "anchor">[];
  readonly signal: AbortSignal;
  /** Called for each segment that was read, with the number of bytes read so far. */
  readonly onProgress?: (done: number, name: string) => void;
}

export interface BackupProblem {
  /** The affected file; null for a hole. */
  readonly file: string | null;
  readonly error: CairnError;
}

export interface VerifiedSegments {
  readonly segments: number;
  readonly bytes: number;
  readonly messages: number;
  readonly covered: readonly TxRange[];
  /** The names of the checkpoints whose last transaction is identical in the backup. */
  readonly agreeing: readonly string[];
  readonly isLocked: boolean;
}

/**
 * Reads every segment of a backup, at most two in memory, and compares it with its digest and name, its neighbors, the
 * log, and checkpoints. Passes every problem to `onProblem` and continues. Throws the errors of the store and the log.
 */
export async function verifySegments(
  options: VerifySegmentsOptions,
  onProblem: (problem: BackupProblem) => Promise<void>,
): Promise<VerifiedSegments> {
  const { store, logId, signal, onProgress } = options;
  const reached = await reachedBy(store, logId);
  let listing = await listBackup(store, logId);
  for (const name of listing.foreign) {
    const error = new CairnError(
      "SEGMENT_CORRUPT",
      `${name} is not a file of the log backup.`,
      "If the file is a segment that was renamed, restore its name; otherwise remove it. Nodes never read it.",
    );
    await onProblem({ file: name, error });
  }
  const whole: SegmentFile[] = [];
  /** What is there but cannot be read with these keys, so nothing shows that it is missing. */
  const locked: SegmentFile[] = [];
  const agreeing: string[] = [];
  /** It contains everything that a later segment shares with any earlier one. */
  let furthest: Segment | undefined;
  let [bytes, messages] = [0, 0];
  /** Returns false if the file is no longer there. */
  const read = async (file: SegmentFile): Promise<boolean> => {
    signal.throwIfAborted();
    const problem = (error: CairnError): Promise<void> => onProblem({ file: file.name, error });
    const segment = await readSegment(store, file, signal).catch(async (thrown: unknown) => {
      const error = unreadable(file, thrown);
      if (error.code !== "SEGMENT_CORRUPT") locked.push(file);
      await problem(error);
      return null;
    });
    bytes += file.bytes;
    onProgress?.(bytes, file.name);
    if (segment === undefined) return false;
    if (segment === null) return true;
    whole.push(file);
    messages += segment.messages.length;
    const judged = await againstLog(options, file, segment);
    // If the log still holds the messages, it decides which of two histories is right.
    const error = judged === "agrees" ? undefined : (judged ?? contradiction(file.name, segment, furthest));
    if (error !== undefined) await problem(error);
    for (const one of options.checkpoints) {
      const why = againstCheckpoint(file.name, segment, one);
      if (why === "agrees") agreeing.push(one.name);
      else if (why !== undefined) await problem(why);
    }
    // A segment that the log contradicts is not compared with later segments.
    if (judged instanceof CairnError) return true;
    if (furthest === undefined || segment.header.last > furthest.header.last) furthest = segment;
    return true;
  };
  const seen = new Set<string>();
  for (let unread = listing.segments; unread.length > 0;) {
    let areThere = true;
    for (const file of unread) {
      seen.add(file.name);
      areThere = (await read(file)) && areThere;
    }
    if (areThere) break;
    // What is gone may have been merged into a segment that was not there yet when they were listed.
    listing = await listBackup(store, logId);
    unread = listing.segments.filter(({ name }) => !seen.has(name));
  }
  const covered = coveredRanges(whole);
  const there = coveredRanges([...whole, ...locked]);
  const end = Math.max(there.at(-1)?.last ?? 0, reached);
  const begin = beginOfBackup(listing, furthest?.header.log.offset ?? 0, end);
  for (const hole of holesOf(there, begin, reached))
    await onProblem({ file: null, error: missingInBackup(hole, store.location) });
  const counts = { segments: listing.segments.length, bytes, messages };
  return { ...counts, covered, agreeing: [...new Set(agreeing)], isLocked: locked.length > 0 };
}

export function missingInBackup({ first, last }: TxRange, location: string): CairnError {
  const what = first === last ? `Transaction ${first} is` : `Transactions ${first} to ${last} are`;
  const hint = `Do nothing if the log still holds them: a node writes them again within six hours. Otherwise, put their files back if there is a copy of them; if not, no point in time within them can be restored. Save a checkpoint beyond them (cairn checkpoint create) from which nodes continue, and verify it (cairn checkpoint verify). This is over once nothing before them is kept, which also accepts that they are missing: cairn log backup prune --through ${last}`;
  return new CairnError("LOG_GAP", `${what} missing in the log backup in ${location}.`, hint);
}

function contradiction(
  name: string,
  segment: Segment,
  furthest: Segment | undefined,
): CairnError | undefined {
  if (furthest === undefined) return undefined;
  const { header, messages } = segment;
  const { log, last } = furthest.header;
  if (header.log.offset !== log.offset)
    return corruptSegment(
      name,
      `it records the log offset ${header.log.offset}, but other segments record ${log.offset}`,
    );
  const before = furthest.messages.get(header.first - 1);
  if (before !== undefined && header.before !== null && anchorOf(before).sha256 !== header.before)
    return differentHistories(segmentPlace(furthest), segmentPlace(segment), header.first - 1);
  for (const message of messages) {
    const txId = message.position + log.offset;
    if (txId > last) return undefined;
    const other = furthest.messages.get(txId);
    if (other !== undefined && anchorOf(other).sha256 !== anchorOf(message).sha256)
      return differentHistories(segmentPlace(furthest), segmentPlace(segment), txId);
  }
  return undefined;
}

/** Undefined if the log has trimmed the segment's last message, or if there is no log. */
async function againstLog(
  { log }: VerifySegmentsOptions,
  { name }: SegmentFile,
  { header, messages }: Segment,
): Promise<CairnError | "agrees" | undefined> {
  const last = messages.get(header.last);
  if (log === undefined || last === undefined) return undefined;
  const message = await log.fetch(last.position);
  if (message !== undefined && anchorOf(message).sha256 === header.end) return "agrees";
  if (message === undefined && last.position < (await log.bounds()).first) return undefined;
  return new CairnError(
    "LOG_REGRESSED",
    `Transaction ${header.last} in ${name} differs from the one in the log "${log.name}", or is missing there.`,
    "Print what the log lost with cairn log orphans --from-backup, then remove it from the backup (cairn log backup prune --lost). If that removes nothing, another segment agrees with the log: move this file out of the folder, with newest.json.",
  );
}

function againstCheckpoint(
  name: string,
  { messages }: Segment,
  { name: checkpoint, anchor }: VerifySegmentsOptions["checkpoints"][number],
): CairnError | "agrees" | undefined {
  const message = messages.get(anchor.txId);
  if (message === undefined) return undefined;
  if (anchorOf(message).sha256 === anchor.sha256) return "agrees";
  return new CairnError(
    "LOG_REGRESSED",
    `Transaction ${anchor.txId}, with which ${checkpoint} ends, differs in ${name}: they belong to different histories.`,
    "Remove the checkpoints with transactions that the log lost: cairn checkpoint prune --lost.",
  );
}
