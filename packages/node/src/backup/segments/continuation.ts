import { CairnError } from "@cairn/kv";
import { anchorOf } from "../../log/anchor.ts";
import type { TxId } from "@cairn/client";
import type { Segment } from "./segment.ts";
import type { SegmentFile, TxRange } from "./segment-name.ts";

/**
 * Throws `LOG_REGRESSED` if a segment does not continue another one, which ends directly before it or within it: then they are of different
 * histories of the log. That happens if a writer was suspended with messages that the log lost in the meantime.
 */
export function requireContinuation(before: SegmentPlace, after: Segment): void {
  const { first, last } = after.header;
  const seam = before.last;
  if (seam < first - 1 || seam >= last) return;
  const shared = after.messages.get(seam);
  const sha256 = shared === undefined ? after.header.before : anchorOf(shared).sha256;
  // Null: the writer of the later segment no longer found the message before it in the log.
  if (sha256 === null || sha256 === before.end) return;
  throw differentHistories(before, segmentPlace(after), seam);
}

/** A segment in its file, without its messages. */
export interface SegmentPlace extends TxRange {
  readonly file: string;
  /** The SHA-256 of the anchor of the last message, or the first digits of it. */
  readonly end: string;
}

export function segmentPlace({ file, header: { first, last, end } }: Segment): SegmentPlace {
  return { file, first, last, end };
}

/** Returns whether a segment holds the message with which another one ends; `end`: the first digits of its anchor's SHA-256. */
export function holdsEnd(segment: Segment, { last, end }: { last: number; end: string }): boolean {
  const message = segment.messages.get(last);
  return message !== undefined && anchorOf(message).sha256.startsWith(end);
}

/** Returns the listed segments that, by their names, end with another message than the one that a segment holds at that position. */
export function contradictedBy(segment: Segment, listed: readonly SegmentFile[]): SegmentFile[] {
  const { first, last } = segment.header;
  return listed.filter((one) => first <= one.last && one.last <= last && !holdsEnd(segment, one));
}

/** Returns `LOG_REGRESSED`: two segments hold different messages as a transaction. */
export function differentHistories(before: SegmentPlace, after: SegmentPlace, txId: TxId): CairnError {
  const [one, other] = [after, before].map(
    ({ first, last, file }) => `of transactions ${first} to ${last} (${file})`,
  );
  return new CairnError(
    "LOG_REGRESSED",
    `In the backup, the segment ${one} does not agree with the one ${other}: they are of different histories, and differ in transaction ${txId}.`,
    {
      hint: "The log lost its end while a node was writing the backup. cairn log backup verify -f FILE compares the segments with the log, and names those that the log contradicts; remove only those. If the log no longer holds these transactions, keep the history that the checkpoints agree with, which verify tells, too, and move the other files out of the folder.",
    },
  );
}
