import type { CheckpointStore } from "@cairn/checkpoint";
import { type CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import { madeOnce } from "@cairn/text";
import type { TxId } from "@cairn/client";
import { anchorOf, checkAnchor } from "../log/anchor.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import {
  type BirthRecord,
  type ContinuedLog,
  continuesAt,
  type HistoryEnd,
} from "../transactions/birth-record.ts";
import { UNREADABLE } from "./backup-errors.ts";
import { BackupLog } from "./backup-log.ts";
import type { EarlierEnd } from "./write/expire-segments.ts";
import { isUnusableSegment, UNUSABLE_SEGMENT } from "./segments/read-segment.ts";

/** A log that another log continues. It is read from its backup. */
interface EarlierLog {
  readonly log: TxLog;
  readonly identity: LogIdentity;
  readonly offset: number;
  /** The transactions that the backup covers, up to the last one that belongs to the later log's history. */
  readonly first: TxId;
  readonly last: TxId;
}

/**
 * The chain of logs that a log continues, as far as backups in `stores` hold them. A backup is used only if it holds
 * the exact message after which the later log continues.
 */
export class EarlierLogs {
  readonly #stores: readonly CheckpointStore[];
  readonly #backups = new Map<string, readonly BackupLog[]>();

  constructor(stores: readonly CheckpointStore[]) {
    this.#stores = stores;
  }

  /**
   * The logs, oldest first, that lead from the end of an index to the beginning of the log with the birth record
   * `birth`. Undefined if `end` is not in the log's history or no backup holds the transactions in between. Throws
   * `LOG_UNREACHABLE` if no store can be read.
   */
  async wayFrom(end: HistoryEnd, birth: BirthRecord | undefined): Promise<readonly EarlierLog[] | undefined> {
    const way: EarlierLog[] = [];
    if (continuesAt(birth, end)) return way;
    for await (const { continues, earlier } of this.#chain(birth)) {
      const isOfIndex = continues.log === end.logId;
      // The index contains later transactions of the continued log, or a different message at the anchor.
      if (isOfIndex && end.txId >= continues.anchor.txId) return undefined;
      const log = await earlier();
      if (log === undefined) return undefined;
      way.unshift(log);
      if (isOfIndex) return (await endsWithin(log, end)) ? way : undefined;
      if (!beginsAtBirth(log)) return undefined;
      if (continuesAt(log.identity.birth, end)) return way;
    }
    return undefined;
  }

  /** All logs before the one of the record `birth`, oldest first; undefined unless backups hold them completely. */
  async all(birth: BirthRecord | undefined): Promise<readonly EarlierLog[] | undefined> {
    if (birth === undefined) return undefined;
    const logs: EarlierLog[] = [];
    for await (const { earlier } of this.#chain(birth)) {
      const log = await earlier();
      if (log === undefined || !beginsAtBirth(log)) return undefined;
      logs.unshift(log);
    }
    return logs;
  }

  /** The known earlier logs, newest first, each with its last transaction that belongs to the later log's history. */
  async ends(birth: BirthRecord | undefined): Promise<readonly EarlierEnd[]> {
    const ends: EarlierEnd[] = [];
    for await (const { continues } of this.#chain(birth))
      ends.push({ logId: continues.log, last: continues.anchor.txId });
    return ends;
  }

  /** Like {@link ends}, for a log that may have trimmed its birth record, which its backup then shows. */
  async endsBefore({ id, birth }: Pick<LogIdentity, "id" | "birth">): Promise<readonly EarlierEnd[]> {
    let known = birth;
    for (const backup of this.#backupsOf(id))
      known ??= await unlessFailed(backup.birth(), UNUSABLE_SEGMENT, undefined);
    return await this.ends(known);
  }

  /** Returns an earlier log of the log with the record `birth`; undefined if no backup that can be read holds it. */
  async find(logId: string, birth: BirthRecord | undefined): Promise<EarlierLog | undefined> {
    const search = async (): Promise<EarlierLog | undefined> => {
      for await (const { continues, earlier } of this.#chain(birth))
        if (continues.log === logId) return await earlier();
      return undefined;
    };
    return await unlessFailed(search(), UNREADABLE, undefined);
  }

  /** Yields what each log continues, newest first, as far as backups show it. */
  async *#chain(birth: BirthRecord | undefined): AsyncGenerator<{
    readonly continues: ContinuedLog;
    readonly earlier: () => Promise<EarlierLog | undefined>;
  }> {
    let continues = birth?.continues;
    while (continues !== undefined) {
      const continued = continues;
      let found: Promise<EarlierLog | undefined> | undefined;
      const earlier = (): Promise<EarlierLog | undefined> => (found ??= this.#find(continued));
      yield { continues, earlier };
      continues = (await earlier())?.identity.birth?.continues;
    }
  }

  /**
   * Where another log's history and that of the log with the record `birth` part, if known. This log continues the other
   * one or, because it was recovered twice, a predecessor of it, which is then the log that is returned.
   */
  async endInCommon(logId: string, birth: BirthRecord | undefined): Promise<EarlierEnd | undefined> {
    if (birth?.continues?.log === logId) return { logId, last: birth.continues.anchor.txId };
    const ends = await this.ends(birth);
    let last = Infinity;
    let log: string | undefined = logId;
    while (log !== undefined) {
      const end = ends.find((one) => one.logId === log);
      if (end !== undefined) return { logId: end.logId, last: Math.min(last, end.last) };
      const continues: ContinuedLog | undefined = (await this.#birthOf(log))?.continues;
      last = Math.min(last, continues?.anchor.txId ?? Infinity);
      log = continues?.log;
    }
    return undefined;
  }

  /** Returns a log's birth record, read from one of its backups; undefined if no readable backup holds it. */
  async #birthOf(logId: string): Promise<BirthRecord | undefined> {
    for (const backup of this.#backupsOf(logId)) {
      const birth = await unlessFailed(backup.birth(), UNREADABLE, undefined);
      if (birth !== undefined) return birth;
    }
    return undefined;
  }

  /** Reads the log from the backup that goes back furthest; undefined if no backup can be used. */
  async #find(continued: ContinuedLog): Promise<EarlierLog | undefined> {
    let found: EarlierLog | undefined;
    let unread: CairnError | undefined;
    let isRead = false;
    for (const backup of this.#backupsOf(continued.log)) {
      try {
        const earlier = await asContinued(backup, continued);
        isRead = true;
        if (earlier !== undefined && (found === undefined || earlier.first < found.first)) found = earlier;
      } catch (error) {
        if (isCairnError(error, "LOG_UNREACHABLE")) unread = error;
        else if (!isUnusableSegment(error)) throw error;
      }
    }
    if (!isRead && unread !== undefined) throw unread;
    return found;
  }

  #backupsOf(logId: string): readonly BackupLog[] {
    return madeOnce(this.#backups, logId, () => this.#stores.map((store) => new BackupLog({ store, logId })));
  }
}

/** Undefined if the backup lacks the message after which the log was continued. */
async function asContinued(
  backup: BackupLog,
  { log, anchor }: ContinuedLog,
): Promise<EarlierLog | undefined> {
  const offset = await backup.offset();
  if (offset === undefined) return undefined;
  const position = anchor.txId - offset;
  const last = await backup.fetch(position);
  if (last === undefined || anchorOf(last).sha256 !== anchor.sha256) return undefined;
  const identity = await readLogIdentity(backup);
  const first = await backup.beginningOf(position);
  if (identity === undefined || first === undefined || identity.id !== log) return undefined;
  return { log: backup, identity, offset, first: first + offset, last: anchor.txId };
}

function beginsAtBirth({ identity, first, offset }: EarlierLog): boolean {
  return identity.birth !== undefined && first === offset + 1;
}

/** If an index ends within a backup, the backup holds the transactions that follow the index. */
export async function endsWithin(earlier: EarlierLog, { txId, sha256 }: HistoryEnd): Promise<boolean> {
  const { log, first, offset } = earlier;
  // The index is empty.
  if (txId === offset) return beginsAtBirth(earlier);
  if (txId < first) return false;
  const checked = checkAnchor(log, { position: txId - offset, sha256 });
  return (await unlessFailed(checked, UNUSABLE_SEGMENT, null)) === undefined;
}
