import { type CheckpointStore, idInName, type StoredFile } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";

/** `log-<log id>/<first>-<last>-<8 hex>.segment`, with `-<bytes>` before the dot if its messages are compressed. */
export interface SegmentName {
  readonly logId: string;
  readonly first: TxId;
  readonly last: TxId;
  /** The first 8 digits of the SHA-256 of the last message's anchor: other histories have other names. */
  readonly end: string;
  /** The size before compression, which is the memory that a reader needs; nothing else in a listing shows it. */
  readonly plainBytes?: number | undefined;
}

export interface SegmentFile extends SegmentName, StoredFile {}

/** A run of transactions, both ends included. */
export interface TxRange {
  readonly first: TxId;
  readonly last: TxId;
}

export const BACKUPS = "log-";
const ID_DIGITS = 16;
const NAME = /^log-([A-Za-z0-9._-]{1,64})\/(\d{16})-(\d{16})-([0-9a-f]{8})(?:-([1-9]\d{0,11}))?\.segment$/;
/** The lease file in a backup's folder, held by a node that is writing or merging. */
const LEASE = "in-progress.json";
const POINTER = "newest.json";
/** The name of a file that records where the backup begins if that is after the log's first transaction. */
const BEGIN = /^(\d{16})\.begin$/;
/** The name of a file that records how far Cairn has trimmed the log. */
const TRIMMED = /^(\d{16})\.trimmed$/;

/** Returns the folder of a log's backup in a store, with a trailing slash. */
export function backupFolder(logId: string): string {
  return `${BACKUPS}${idInName(logId)}/`;
}

export function backupLease(logId: string): string {
  return backupFolder(logId) + LEASE;
}

export function pointerFile(logId: string): string {
  return backupFolder(logId) + POINTER;
}

/** Transaction ids have a fixed width, so that listings are in transaction order. */
export function segmentFile({ logId, first, last, end, plainBytes }: SegmentName): string {
  const size = plainBytes === undefined ? "" : `-${plainBytes}`;
  return `${backupFolder(logId)}${idDigits(first)}-${idDigits(last)}-${end}${size}.segment`;
}

export function beginFile(logId: string, txId: TxId): string {
  return `${backupFolder(logId)}${idDigits(txId)}.begin`;
}

/** Returns the name of the file that records that Cairn trims the log up to a position, whose message is kept. */
export function trimFile(logId: string, position: number): string {
  return `${backupFolder(logId)}${idDigits(position)}.trimmed`;
}

function idDigits(txId: TxId): string {
  return String(txId).padStart(ID_DIGITS, "0");
}

/** Parses the name of a segment's file; undefined unless {@link segmentFile} would return exactly this name. */
export function parseSegmentName(file: string): SegmentName | undefined {
  const match = NAME.exec(file);
  if (match === null) return undefined;
  const [, logId = "", from = "", to = "", end = "", size] = match;
  const [first, last] = [Number(from), Number(to)];
  const plainBytes = size === undefined ? undefined : Number(size);
  return Number.isSafeInteger(last) && first >= 1 && first <= last
    ? { logId, first, last, end, plainBytes }
    : undefined;
}

export interface BackupListing {
  /** The segments, ordered by first transaction. Of those with the same first transaction, the longest comes first. */
  readonly segments: readonly SegmentFile[];
  readonly lease: StoredFile | undefined;
  /** The files that record where the backup begins, each with that transaction: several only during a removal. */
  readonly begins: readonly { readonly name: string; readonly txId: TxId }[];
  /** The files that record trims of the log, each with the position. They are there without a backup, too. */
  readonly trims: readonly { readonly name: string; readonly position: number }[];
  readonly foreign: readonly string[];
  /** The ids of the logs with a segment among the listed files. */
  readonly logs: readonly string[];
}

/**
 * Lists the backup of a log, or all backups if `prefix` says so, with one request per thousand segments. A listing with a
 * hole is made again: it may lack segments that were removed meanwhile, and the file that replaces or records them.
 */
export async function listBackup(
  store: CheckpointStore,
  logId: string,
  prefix = backupFolder(logId),
): Promise<BackupListing> {
  const listing = backupIn(await store.list(prefix), logId);
  const begin = Math.max(1, ...listing.begins.map(({ txId }) => txId));
  if (holesOf(coveredRanges(listing.segments), begin).length === 0) return listing;
  return backupIn(await store.list(prefix), logId);
}

function backupIn(files: readonly StoredFile[], logId: string): BackupListing {
  const folder = backupFolder(logId);
  const segments: SegmentFile[] = [];
  const foreign: string[] = [];
  const begins: { name: string; txId: TxId }[] = [];
  const trims: { name: string; position: number }[] = [];
  let lease: StoredFile | undefined;
  for (const file of files) {
    if (!file.name.startsWith(folder)) continue;
    const name = parseSegmentName(file.name);
    const [, begin] = BEGIN.exec(file.name.slice(folder.length)) ?? [];
    const [, trim] = TRIMMED.exec(file.name.slice(folder.length)) ?? [];
    if (name !== undefined) segments.push({ ...name, ...file, name: file.name });
    else if (file.name === backupLease(logId)) lease = file;
    else if (file.name === pointerFile(logId)) continue;
    else if (begin !== undefined) begins.push({ name: file.name, txId: Number(begin) });
    else if (trim !== undefined) trims.push({ name: file.name, position: Number(trim) });
    else foreign.push(file.name);
  }
  segments.sort(inOrder);
  return { segments, lease, begins, trims, foreign, logs: backedUpLogs(files) };
}

/**
 * Returns the first transaction that a backup should hold: the one that a file records, else the log's first one, which
 * follows `offset`. Earlier transactions are not written again, even if the log still holds them.
 */
export function beginOfBackup(
  { segments, begins }: Pick<BackupListing, "segments" | "begins">,
  offset: number,
  logEnd: TxId,
): TxId {
  // A file that names a transaction beyond the log's end is ignored: no removal wrote it, and it would keep everything
  // before that transaction out of the backup.
  const noted = begins.map(({ txId }) => txId).filter((txId) => txId <= logEnd + 1);
  const removed = Math.max(offset + 1, ...noted);
  const rest = segments.find(({ last }) => last >= removed);
  return Math.min(removed, rest?.first ?? logEnd + 1);
}

/** Compares segments by first transaction. If these are equal, the longer segment comes first. */
export function inOrder(a: SegmentFile, b: SegmentFile): number {
  return a.first - b.first || b.last - a.last || (a.name < b.name ? -1 : Number(a.name > b.name));
}

/** Identifies the content of a listed file: one that was removed and rewritten gets a different key. */
export function versionOf({ name, bytes, modifiedAt }: StoredFile): string {
  return `${name} ${bytes} ${modifiedAt}`;
}

export async function listBackups(store: CheckpointStore): Promise<string[]> {
  return backedUpLogs(await store.list(BACKUPS));
}

function backedUpLogs(files: readonly StoredFile[]): string[] {
  const ids = new Set<string>();
  for (const { name } of files) {
    const parsed = parseSegmentName(name);
    if (parsed !== undefined) ids.add(parsed.logId);
  }
  return [...ids];
}

/** Returns when the newest segment was written (ms since 1970, by the store's clock), if there is one. */
export function newestOf(segments: readonly SegmentFile[]): number | undefined {
  // Not the latest time: the store's clock may have been wrong when an older one was written.
  return lastSegment(segments)?.modifiedAt;
}

export function lastSegment(segments: readonly SegmentFile[]): SegmentFile | undefined {
  let newest: SegmentFile | undefined;
  for (const segment of segments) if (newest === undefined || segment.last > newest.last) newest = segment;
  return newest;
}

/** Returns the segments that hold a transaction, starting with the one that reaches furthest. */
export function segmentsWith(segments: readonly SegmentFile[], txId: TxId): SegmentFile[] {
  return segments
    .filter(({ first, last }) => first <= txId && txId <= last)
    .toSorted((a, b) => b.last - a.last || a.first - b.first);
}

/** Returns the runs of transactions that segments hold, in order. There is a hole between each run and the next. */
export function coveredRanges(segments: readonly TxRange[]): TxRange[] {
  const ranges: { first: TxId; last: TxId }[] = [];
  for (const { first, last } of segments.toSorted((a, b) => a.first - b.first)) {
    const before = ranges.at(-1);
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last);
    else ranges.push({ first, last });
  }
  return ranges;
}

/** Returns the parts of a range that no run contains, in order. */
export function gapsIn(covered: readonly TxRange[], { first, last }: TxRange): TxRange[] {
  const gaps: TxRange[] = [];
  let next = first;
  for (const range of [...covered, { first: last + 1, last }]) {
    const end = Math.min(range.first - 1, last);
    if (end >= next) gaps.push({ first: next, last: end });
    next = Math.max(next, range.last + 1);
  }
  return gaps;
}

/**
 * The holes in a backup that should begin with a transaction ({@link beginOfBackup}), up to its end or the one that its
 * pointer shows. A backup without a segment that can be read has none.
 */
export function holesOf(covered: readonly TxRange[], begin = covered[0]?.first, reached = 0): TxRange[] {
  const end = covered.at(-1);
  if (begin === undefined || end === undefined) return [];
  return gapsIn(covered, { first: begin, last: Math.max(end.last, reached) });
}

/** Returns the number of transactions in a range that no run contains, and the first of them. */
export function missingIn(
  covered: readonly TxRange[],
  range: TxRange,
): { readonly count: number; readonly first: TxId | undefined } {
  const gaps = gapsIn(covered, range);
  return { count: gaps.reduce((sum, { first, last }) => sum + last - first + 1, 0), first: gaps[0]?.first };
}
