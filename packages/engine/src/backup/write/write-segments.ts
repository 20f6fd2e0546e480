import { Readable } from "node:stream";
import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError, unlessFailed } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { anchorOf, vanished, wasLast } from "../../log/anchor.ts";
import { followLog } from "../../log/follow-log.ts";
import { hasLogId } from "../../log/log-identity.ts";
import type { LogMessage, TxLog } from "../../log/tx-log.ts";
import { isLastOf } from "../segments/continuation.ts";
import { encodeSegment, type SegmentCodec, type SegmentHeader } from "../segments/segment.ts";
import { readSegment } from "../segments/read-segment.ts";
import { sealSegment } from "../segments/sealed-segment.ts";
import {
  backupFolder,
  lastSegment,
  parseSegmentName,
  type SegmentFile,
  type TxRange,
} from "../segments/segment-name.ts";
import { payloadChecksum } from "../../transactions/message-frame.ts";

/** The target size of a segment, in bytes. A single longer message results in a larger segment. */
export const SEGMENT_BYTES = 8 * 1024 * 1024;
export const SEGMENT_MESSAGES = 65_536;

export interface BackupTarget {
  readonly store: CheckpointStore;
  readonly log: TxLog;
  readonly of: SegmentHeader["log"];
  readonly node: string;
  readonly codec: SegmentCodec;
  readonly signal: AbortSignal;
  /** Returns the store's time (ms since 1970). */
  readonly storeNow: () => number;
  /**
   * The checksum ({@link payloadChecksum}) of a transaction in an index that agrees with the log, if there is one that
   * remembers it.
   */
  readonly checksumAt?: ((txId: TxId) => number | undefined) | undefined;
}

export interface WrittenSegment extends SegmentFile {
  /** False if another node had already written the same segment. */
  readonly isNew: boolean;
}

/**
 * Writes transactions from the log as segments, one in memory at a time. Throws the errors of the log and the store.
 * `trimmed` comes from {@link requireSameHistory}, with which the caller has compared the backup, `segments`, and the
 * log. Throws `LOG_REGRESSED` if the log has lost its end and grown again since.
 */
export async function writeSegments(
  target: BackupTarget,
  range: TxRange,
  onWritten: (written: WrittenSegment) => void,
  {
    trimmed,
    segments = [],
  }: { readonly trimmed?: LogMessage | undefined; readonly segments?: readonly SegmentFile[] } = {},
): Promise<void> {
  const { log, of } = target;
  const position = range.first - 1 - of.offset;
  const held = await log.fetch(position);
  const ends = segments.filter(({ last }) => last === range.first - 1);
  const [other] = ends;
  if (held !== undefined && other !== undefined && !ends.some((end) => isLastOf(held, end)))
    throw lostEnd(target, other, LOST_END_HINT);
  const earlier = held ?? (trimmed?.position === position ? trimmed : undefined);
  let before = earlier === undefined ? undefined : anchorOf(earlier);
  let messages: LogMessage[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    const last = messages.at(-1);
    if (last === undefined) return;
    onWritten(await writeSegment(target, before?.sha256, messages));
    before = anchorOf(last);
    messages = [];
    bytes = 0;
  };
  const following = followLog(log, {
    anchor: held === undefined ? undefined : before,
    from: range.first - of.offset,
    upTo: range.last - of.offset,
    signal: target.signal,
    maxMessages: 500,
  });
  for await (const batch of following) {
    for (const message of batch) {
      const { length } = message.payload;
      if (messages.length >= SEGMENT_MESSAGES || (messages.length > 0 && bytes + length > SEGMENT_BYTES))
        await flush();
      messages.push(message);
      bytes += length;
    }
  }
  if (!target.signal.aborted) await flush();
}

/** Does nothing if the store already contains a segment of this name, because the name identifies the messages. */
export async function writeSegment(
  { store, of, node, codec, signal, storeNow }: BackupTarget,
  before: string | undefined,
  messages: readonly LogMessage[],
): Promise<WrittenSegment> {
  const { file, content } = await encodeSegment({ log: of, before, messages, node, at: storeNow(), codec });
  const name = parseSegmentName(file);
  if (name === undefined) throw new Error(`the segment ${file} has no valid name`);
  const stored = await sealSegment(file, of.id, content, store.encryption);
  const bytes = stored.length;
  const options = { signal, expectedBytes: bytes, isUsedAtOnce: true };
  const upload = store.upload(file, Readable.from([stored]), options);
  const isNew = (await unlessFailed(upload, "CONFLICT", null)) !== null;
  if (isNew) return { ...name, name: file, bytes, modifiedAt: storeNow(), isNew };
  // The stored segment names another node, so its size may differ. It is not listed if it has since been merged.
  const listed = (await store.list(file)).find((one) => one.name === file);
  return { ...name, name: file, bytes, modifiedAt: storeNow(), ...listed, isNew };
}

/**
 * Throws `LOG_REGRESSED` if the backup's last transaction differs in the log, which has then lost its end. If the log
 * has trimmed that transaction, an index that agrees with the log takes its place, and the transaction's message is
 * returned, as it is if the log was emptied after that message; otherwise, throws `LOG_TRIMMED`.
 */
export async function requireSameHistory(
  target: Pick<BackupTarget, "log" | "store" | "checksumAt"> & {
    readonly signal?: AbortSignal;
    readonly of: Pick<BackupTarget["of"], "id" | "offset">;
  },
  segments: readonly SegmentFile[],
  logEnd: TxId,
): Promise<LogMessage | undefined> {
  const { log, of } = target;
  const newest = lastSegment(segments);
  if (newest === undefined) return undefined;
  const ends = segments.filter(({ last }) => last === newest.last);
  const isBeyond = newest.last > logEnd;
  const held = isBeyond ? undefined : await log.fetch(newest.last - of.offset);
  const trimmed = isBeyond || held !== undefined ? undefined : await trimmedEnd(target, newest, ends);
  const message = held ?? trimmed;
  const agrees = (end: SegmentFile): boolean => message !== undefined && isLastOf(message, end);
  const other = ends.find((segment) => !agrees(segment));
  if (other === undefined) return trimmed;
  // If another log has replaced the one that was backed up, the difference does not show that messages were lost.
  if (!(await hasLogId(log, of.id))) throw vanished(log.name);
  throw lostEnd(target, other, ends.some(agrees) ? STRAY_HINT : LOST_END_HINT);
}

function lostEnd(
  { log, store }: Pick<BackupTarget, "log" | "store">,
  { last, name }: SegmentFile,
  hint: string,
): CairnError {
  const lost = `The log "${log.name}" no longer holds transaction ${last}, which ${name} in ${store.location} contains, so nothing is written to the backup.`;
  return new CairnError("LOG_REGRESSED", lost, hint);
}

/** The log has trimmed the backup's last message, but the index has it. `ends` are the segments that end with it. */
async function trimmedEnd(
  { log, of, store, checksumAt, signal }: Parameters<typeof requireSameHistory>[0],
  { last, name }: SegmentFile,
  ends: readonly SegmentFile[],
): Promise<LogMessage> {
  const known = checksumAt?.(last);
  const bounds = await log.bounds();
  let isCompared = false;
  for (const segment of known === undefined && bounds.lastTime === undefined ? [] : ends) {
    const message = (await readSegment(store, segment, signal))?.messages.get(last);
    if (message === undefined) continue;
    if (payloadChecksum(message.payload) === known || wasLast(message, bounds))
      return { ...message, payload: Buffer.from(message.payload) };
    isCompared = known !== undefined;
  }
  const where = `the log "${log.name}" no longer holds transaction ${last}, with which its backup in ${store.location} ends (${name})`;
  const hint = `Move the folder ${backupFolder(of.id)} out of the store, and keep it, because it may contain the only copy of transactions that the log lost. The next look of a node begins a new backup with what the log holds.`;
  const [code, so] = isCompared
    ? (["LOG_REGRESSED", "and the transaction of that number in the log's history is another one"] as const)
    : (["LOG_TRIMMED", "so it is unknown whether the log continues it"] as const);
  throw new CairnError(code, `Nothing is written to the backup: ${where}, ${so}.`, hint);
}

const LOST_END_HINT =
  "Print the transactions that the log lost and the backup still holds (cairn log orphans --from-backup > FILE). Submit those that must be kept (cairn load FILE). Then remove the lost end from the backup, which then continues with the log: cairn log backup prune --lost.";
const STRAY_HINT =
  "Move this file out of the folder, with newest.json, and keep it, because it may be the only copy of its messages. Another segment that ends with the same transaction agrees with the log, so the next look continues the backup. Run cairn log backup verify to find all segments that the log contradicts.";
