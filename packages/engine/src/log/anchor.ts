import { createHash } from "node:crypto";
import type { Manifest } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { LogBounds, LogMessage, TxLog } from "./tx-log.ts";

/**
 * Identifies a message by its position and by the SHA-256 (in hex) of its position, the time that the log gave it, and
 * its payload. Indexes and manifests contain the anchor of their last message. If a log still holds that message, its
 * history up to the message is that of the index or manifest. A hash of the payload alone would not suffice, because
 * a different history may have the same bytes at that position.
 */
export interface Anchor {
  readonly position: number;
  readonly sha256: string;
  /** The message was stored at this time or before (ms since 1970). */
  readonly time?: number;
}

export function anchorOf({ position, time, nanoseconds = 0, payload }: LogMessage): Required<Anchor> {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeBigUInt64BE(BigInt(position), 0);
  head.writeBigUInt64BE(BigInt(time) * 1_000_000n + BigInt(nanoseconds), 8);
  return { position, sha256: createHash("sha256").update(head).update(payload).digest("hex"), time };
}

/** The combined size of the position and the time (nanoseconds since 1970), which are hashed before the payload. */
const HEAD_BYTES = 16;

/**
 * Determines whether a log continues the history that ends at `anchor`, given the log's `bounds` and the `message` that
 * it holds at the anchor's position (undefined if there is none). The log's id is that of the history. Returns undefined
 * if the log continues the history. Otherwise, returns the reason: `LOG_REGRESSED` if the position is beyond the log's
 * end or held a different message, and `LOG_TRIMMED` if messages after it were removed from the log's beginning.
 *
 * A log that lacks the anchor's message, but none after it, lacks nothing. `before` is what it may still know of that
 * message, as a segment of a backup does. Otherwise, its id decides, and the time of the last message if it was emptied:
 * messages that take the place of lost ones are stored later. docs/internals/rules.md lists all cases.
 */
export function judgeAnchor(
  logName: string,
  anchor: Anchor,
  bounds: LogBounds,
  message: LogMessage | undefined,
  before: string = anchor.sha256,
): CairnError | undefined {
  const { position } = anchor;
  if (message !== undefined) {
    return anchorOf(message).sha256 === anchor.sha256 ? undefined : otherMessage(logName, position);
  }
  if (position > bounds.last) return shortened(logName, bounds.last, position);
  if (!lacksNothing(position, bounds)) return trimmed(logName, position + 1, bounds.first - 1);
  const { last, lastTime = 0 } = bounds;
  const isOther = before !== anchor.sha256 || (position === last && lastTime > (anchor.time ?? Infinity));
  return isOther ? otherMessage(logName, position) : undefined;
}

/** Returns whether a log with these bounds holds every message after `position`, apart from gaps, which reading shows. */
export function lacksNothing(position: number, { first }: Pick<LogBounds, "first">): boolean {
  return position + 1 >= first;
}

/** Returns whether a log with these bounds was emptied after this message, and not after another one in its place. */
export function wasLast({ position, time }: LogMessage, { last, lastTime }: LogBounds): boolean {
  return position === last && time === lastTime;
}

/** Returns the result of {@link judgeAnchor}. Throws `LOG_UNREACHABLE` if the log does not respond. */
export async function checkAnchor(
  log: Pick<TxLog, "name" | "bounds" | "fetch" | "before">,
  anchor: Anchor,
): Promise<CairnError | undefined> {
  const { position } = anchor;
  const found = await log.fetch(position);
  if (found !== undefined) return judgeAnchor(log.name, anchor, { first: position, last: position }, found);
  const bounds = await log.bounds();
  // A log that ended before the position may have reached it in the meantime.
  const isWithin = position >= bounds.first && position <= bounds.last;
  const before = position + 1 === bounds.first ? await log.before?.(bounds.first) : undefined;
  return judgeAnchor(log.name, anchor, bounds, isWithin ? await log.fetch(position) : undefined, before);
}

type CheckpointEnd = Pick<Manifest, "anchor" | "log" | "txTime">;

/** Returns the result of {@link checkAnchor} for the end of a checkpoint of this log. */
export async function checkCheckpoint(
  log: Parameters<typeof checkAnchor>[0],
  { anchor, log: { offset }, txTime }: CheckpointEnd,
): Promise<CairnError | undefined> {
  const { txId, sha256 } = anchor;
  return await checkAnchor(log, { position: txId - offset, sha256, time: Date.parse(txTime) });
}

/** Returns whether a checkpoint may belong to the log's history: it does, or the log cannot show that it does not. */
export async function mayContain(
  log: Parameters<typeof checkAnchor>[0],
  checkpoint: CheckpointEnd,
): Promise<boolean> {
  const problem = await checkCheckpoint(log, checkpoint);
  return problem === undefined || problem.code === "LOG_TRIMMED";
}

/** Returns `LOG_REGRESSED`: the log ends at `last`, before a message that it once held. */
export function shortened(logName: string, last: number, position: number): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    `The log "${logName}" ends at message ${last}, but message ${position} was read from it earlier.`,
    "Restore the data of the log server, which lost the end of the log, or let the node rebuild its index.",
  );
}

export function otherMessage(logName: string, position: number): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    `Message ${position} of the log "${logName}" differs from the one that was read there earlier.`,
    "Let the node rebuild its index from a checkpoint and messages that still agree. The log server lost the end of the log, and other messages were written in its place.",
  );
}

/** Returns `LOG_DIFFERENT`: a log that was read earlier no longer exists, although its server responds. */
export function vanished(logName: string): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `The log "${logName}", which was read earlier, no longer exists.`,
    "Check whether the stream was deleted, and check the address and the data of the server.",
  );
}

export function trimmed(logName: string, from: number, to: number): CairnError {
  const missing = from === to ? `message ${from}` : `messages ${from} to ${to}`;
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${logName}" no longer holds ${missing}.`,
    "Restore a checkpoint that is newer than the trimmed messages.",
  );
}

export function trimmedTooFar(logName: string, upTo: number, last: number): CairnError {
  return new CairnError(
    "CONFLICT",
    `The log "${logName}" ends at message ${last}, so it cannot be trimmed up to message ${upTo}.`,
    "Specify a message that the log holds, because the message up to which the log is trimmed must remain. Nothing was removed.",
  );
}

/** What an operator does if a log lacks messages that are inside it. */
export const SAVE_BEYOND_GAP =
  "Save a checkpoint beyond the gap on a ready node of this log: cairn checkpoint create --url URL (the address of that node). If no node is ready, restore the log from a copy, or give up the missing messages (cairn log recover --over-gap), which saves a checkpoint with everything else that the log holds.";

export function gap(logName: string, from: number, to: number, last: number): CairnError {
  const missing = from === to ? `message ${from} is` : `messages ${from} to ${to} are`;
  return new CairnError(
    "LOG_GAP",
    `In the log "${logName}" ${missing} missing, although it ends at message ${last}.`,
    `${SAVE_BEYOND_GAP} This node keeps searching for one and continues by itself. Find out whether messages were deleted or the log's files are damaged.`,
  );
}
