import { CairnError, LastKnown, unlessFailed } from "@cairn/kv";
import { anchorOf, wasLast } from "../log/anchor.ts";
import { followLog, type FollowLogOptions } from "../log/follow-log.ts";
import { type HeldPrefix, lastKnown, type LogIdentity } from "../log/log-identity.ts";
import type { LogBounds, LogMessage, LogReadOptions, TxLog } from "../log/tx-log.ts";
import type { CheckpointStore } from "@cairn/checkpoint";
import { UNREADABLE } from "./backup-errors.ts";
import { BackupLog } from "./backup-log.ts";
import { EarlierLogs } from "./earlier-logs.ts";
import { wrapped } from "@cairn/text";

/** The first position from which all messages can be read, and the backup, if any, that holds those before the log. */
interface Beginning {
  readonly first: number;
  readonly backup?: BackupLog;
}

/** The backups of the log with this id in each store, and their segments when the store last responded. */
interface KnownBackups {
  readonly logId: string | undefined;
  readonly backups: readonly BackupLog[];
  readonly listings: readonly LastKnown<string>[];
}

/** How long the result of a search for a backup stays valid (ms). */
const SEARCH_MS = 60_000;
/** How long the listing of one backup is awaited before its last one is used (ms). */
const LISTING_LIMIT_MS = 3_000;
/** A reader starts over at most this often because the log was trimmed while the backup was being read. */
const MAX_SEAMS = 100;

/** A log for replaying, with its trimmed messages and the earlier logs that it continues, from backups. */
export interface LogHistory extends TxLog {
  /** The log's last position, for which no backup is read. Absent if the log itself is a backup. */
  readonly end?: () => Promise<number>;
  readonly earlier: EarlierLogs;
}

/**
 * Returns a log whose trimmed messages are read from a backup in `stores`: of those that hold the messages directly
 * before the log's first one and that the log continues, the backup that goes back furthest. An unreadable
 * backup is ignored; the log then begins at its own first message. For replaying only: code that trims, appends or
 * inspects uses the log itself. A log that has its backups already is returned.
 */
export function logWithBackup(
  log: TxLog & Partial<LogHistory>,
  stores: readonly CheckpointStore[],
): LogHistory {
  if (log.earlier !== undefined) return log as LogHistory;
  let known: KnownBackups | undefined;
  /** The backup, and the log's first position when it was last compared with it. */
  let compared: { readonly backup: BackupLog; readonly first: number } | undefined;
  let searched: { readonly of: number; readonly at: number; readonly result: Beginning } | undefined;
  const ofLog = async (): Promise<KnownBackups> => {
    const logId = await log.id();
    if (known === undefined || known.logId !== logId) {
      const backups = logId === undefined ? [] : stores.map((store) => new BackupLog({ store, logId }));
      const listings = backups.map((backup) => new LastKnown(() => backup.contents(), LISTING_LIMIT_MS));
      known = { logId, backups, listings };
      searched = undefined;
    }
    return known;
  };
  const beginning = async ({ first }: Pick<LogBounds, "first">): Promise<Beginning> => {
    if (first <= 1) return { first };
    const { backups } = await ofLog();
    // The bounds may be requested every few seconds, and each search lists the stores.
    if (searched?.of !== first || performance.now() - searched.at >= SEARCH_MS) {
      const result = await search(backups, first);
      // A search may take longer than its result stays valid.
      searched = { of: first, at: performance.now(), result };
    }
    return searched.result;
  };
  const search = async (backups: readonly BackupLog[], first: number): Promise<Beginning> => {
    const found: Required<Beginning>[] = [];
    for (const backup of backups) {
      const begin = await unlessFailed(backup.beginningOf(first - 1), UNREADABLE, undefined);
      if (begin !== undefined) found.push({ first: begin, backup });
    }
    for (const one of found.toSorted((a, b) => a.first - b.first)) {
      const { backup } = one;
      const isKnown = compared?.backup === backup && compared.first === first;
      if (!isKnown && !(await unlessFailed(isContinuedBy(log, backup, first), UNREADABLE, false))) continue;
      compared = { backup, first };
      return one;
    }
    return { first };
  };
  async function* read(
    from: number,
    options: LogReadOptions,
  ): AsyncGenerator<readonly LogMessage[], void, void> {
    let next = from;
    for (let seams = 0; seams < MAX_SEAMS && !options.signal.aborted; seams += 1) {
      const bounds = await log.bounds();
      const { first, backup } = next >= bounds.first ? { first: next } : await beginning(bounds);
      if (backup === undefined || next < first) {
        yield* log.read(next, options);
        return;
      }
      const stop = new AbortController();
      const signal = AbortSignal.any([options.signal, stop.signal]);
      try {
        for await (const messages of backup.read(next, { ...options, signal })) {
          const trimmed = messages.filter(({ position }) => position < bounds.first);
          if (trimmed.length > 0) yield trimmed;
          next += trimmed.length;
          if (next >= bounds.first) break;
        }
      } finally {
        stop.abort();
      }
      // The backup ended early, so the caller reads again.
      if (next < bounds.first) return;
    }
  }
  return wrapped<LogHistory>(log, {
    earlier: new EarlierLogs(stores),
    async bounds() {
      const bounds = await log.bounds();
      return { ...bounds, first: (await beginning(bounds)).first };
    },
    end: async () => (await log.bounds()).last,
    async fetch(position) {
      const message = await log.fetch(position);
      if (message !== undefined || position < 1) return message;
      const bounds = await log.bounds();
      const { first, backup } = await beginning(bounds);
      return position >= first && position < bounds.first ? await backup?.fetch(position) : undefined;
    },
    read,
    async before(position) {
      const { backup = log } = await beginning(await log.bounds());
      return await backup.before?.(position);
    },
    async contents() {
      const { listings } = await ofLog();
      return (await Promise.all(listings.map(async (listing) => await listing.current()))).join("\n");
    },
    // The code that opened the log and the stores closes them.
    close: () => Promise.resolve(),
  });
}

/**
 * Yields the messages that follow an index, in order and without holes: those of earlier logs from their backups, then
 * those of the log, as {@link followLog} does. No array mixes two logs. `upTo` is a position of the log itself. Throws
 * `LOG_TRIMMED` if backups lack messages in between, and the errors of {@link followLog}.
 */
export async function* followHistory(
  log: LogHistory,
  identity: LogIdentity,
  state: HeldPrefix,
  options: Omit<FollowLogOptions, "anchor" | "from">,
): AsyncGenerator<readonly LogMessage[], void, void> {
  if (state.log.id !== identity.id) {
    const { txId, sha256 } = state;
    const way = await log.earlier.wayFrom({ logId: state.log.id, txId, sha256 }, identity.birth);
    if (way === undefined)
      throw new CairnError(
        "LOG_TRIMMED",
        `The log "${identity.name}" continues an earlier one, and no backup of that log holds the transactions after transaction ${txId} of ${state.log.id}.`,
        "Save a checkpoint of this log on another node: the node then continues from it by itself. cairn log backup status shows what the backup holds.",
      );
    for (const { log: earlier, identity: own, offset, last } of way)
      yield* followLog(earlier, { ...options, upTo: last - offset, anchor: lastKnown(own, state) });
  }
  yield* followLog(log, { ...options, anchor: lastKnown(identity, state) });
}

/** Returns whether the log and the backup hold the same message where the log begins, or the log was emptied after it. */
async function isContinuedBy(log: TxLog, backup: BackupLog, first: number): Promise<boolean> {
  const [ours, theirs] = [await log.fetch(first), await backup.fetch(first)];
  if (ours !== undefined && theirs !== undefined) return anchorOf(ours).sha256 === anchorOf(theirs).sha256;
  const bounds = await log.bounds();
  // The log has since been trimmed further.
  if (bounds.first > first) return true;
  const newest = await backup.fetch(bounds.last);
  return newest !== undefined && wasLast(newest, bounds);
}
