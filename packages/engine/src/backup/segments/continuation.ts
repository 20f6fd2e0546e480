import { CairnError } from "@cairn/kv";
import { anchorOf } from "../../log/anchor.ts";
import type { LogMessage } from "../../log/tx-log.ts";
import type { TxId } from "@cairn/client";
import type { Segment } from "./segment.ts";
import type { TxRange } from "./segment-name.ts";

/**
 * Throws `LOG_REGRESSED` if `after` does not continue `before`, which ends directly before it, within it or at its end:
 * a writer was suspended while it held messages that the log then lost.
 */
export function requireContinuation(before: SegmentPlace, after: Segment): void {
  const { first, last } = after.header;
  const seam = before.last;
  if (seam < first - 1 || seam > last) return;
  const shared = after.messages.get(seam);
  const sha256 = shared === undefined ? after.header.before : anchorOf(shared).sha256;
  // Null means that the log no longer held the preceding message when the later segment was written.
  if (sha256 === null || sha256 === before.end) return;
  throw differentHistories(before, segmentPlace(after), seam);
}

/** The file and the range of a segment, without its messages. */
export interface SegmentPlace extends TxRange {
  readonly file: string;
  /** The SHA-256 of the anchor of the last message, or its first digits. */
  readonly end: string;
}

export function segmentPlace({ file, header: { first, last, end } }: Segment): SegmentPlace {
  return { file, first, last, end };
}

/** `end` contains the first digits of the SHA-256 of the last message's anchor. */
export function isLastOf(message: LogMessage, { end }: { readonly end: string }): boolean {
  return anchorOf(message).sha256.startsWith(end);
}

export function holdsEnd(segment: Segment, place: { readonly last: number; readonly end: string }): boolean {
  const message = segment.messages.get(place.last);
  return message !== undefined && isLastOf(message, place);
}

/** Returns `LOG_REGRESSED`, because two segments hold different messages for the same transaction. */
export function differentHistories(before: SegmentPlace, after: SegmentPlace, txId: TxId): CairnError {
  const [one, other] = [after, before].map(
    ({ first, last, file }) => `of transactions ${first} to ${last} (${file})`,
  );
  return new CairnError(
    "LOG_REGRESSED",
    `In the backup, the segment ${one} contradicts the segment ${other}: they belong to different histories and differ in transaction ${txId}.`,
    "The log lost its end while a node was writing the backup. Run cairn log backup verify, which compares the segments with the log, and remove only the segments that the log contradicts. If the log no longer holds these transactions, keep the segments that agree with the checkpoints (the command reports them too), and move the other files out of the folder, with newest.json.",
  );
}
