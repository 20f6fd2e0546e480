import {
  systemClock,
  CairnError,
  checkUnchecked,
  isCairnError,
  type KvOperation,
  Semaphore,
  syncFolder,
  type UncheckedTables,
  writeRows,
} from "@cairn/kv";
import { randomUUID } from "node:crypto";
import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { usedLog } from "../log-identity.ts";
import {
  batchOf,
  encodeHead,
  type EndedRow,
  HEAD_KEY,
  positionKey,
  POSITIONS,
  removalOf,
} from "./embedded-rows.ts";
import { FORMAT_1 } from "./format-1.ts";
import {
  damaged,
  damagedFile,
  type Database,
  databaseError,
  hasDatabase,
  hasRoomToOpen,
  openDatabase,
  type OpeningOptions,
} from "./embedded-database.ts";
import { endCreation } from "./embedded-creation.ts";
import { FolderNames } from "./folder-names.ts";
import { RecentMessages } from "./recent-messages.ts";
import type { Appended, LogMessage, LogReadOptions } from "../tx-log.ts";
import { keysBetween, readContents, type LogContents, MessageIdMemory } from "./embedded-contents.ts";

export interface PendingAppend {
  readonly payload: Uint8Array;
  readonly messageId: string | undefined;
}

/** 64 bits of nanoseconds, of which anchors are made, end in July 2554. */
const MAX_TIME = Math.floor(2 ** 64 / 1_000_000);

/** Throws `SYSTEM_REFUSED` if nothing could read a message with this machine's time. Before 1970, returns 0. */
function messageTime(): number {
  const now = systemClock.now();
  if (now <= MAX_TIME) return Math.max(0, now);
  throw new CairnError(
    "SYSTEM_REFUSED",
    `The clock of this machine shows ${new Date(now).toISOString()}, which is too late for the log.`,
    "Set the clock of this machine. Then send the transaction again; nothing was stored.",
  );
}

function nothing(): LogContents {
  return { head: undefined, first: 1, last: 0, upgrade: undefined };
}

interface OpenDatabase {
  readonly database: Database;
  readonly names: FolderNames;
}

interface StorageEvents extends Required<Pick<OpeningOptions, "onNotice">> {
  /** Called when messages were added, or the database was closed, reopened or found to be damaged. */
  readonly onChange: () => void;
  readonly onStoring: (messages: readonly LogMessage[]) => void;
}

/** The embedded log's database and its contents. It has one writer at a time. */
export class EmbeddedStorage {
  readonly path: string;
  readonly #events: StorageEvents;
  #open: OpenDatabase | undefined;
  #contents = nothing();
  /** The last position that is known to be stored. It is not in `#contents`, because every write changes it. */
  #last = 0;
  readonly #recent = new RecentMessages();
  readonly #messageIds = new MessageIdMemory();
  /** The error of a failed write, kept until reopening shows whether the data was stored. Later writes first reopen. */
  #failure: CairnError | undefined;
  /** The damage that was found, or why the log is no longer this one's. Then nothing more is read or written. */
  #damage: CairnError | undefined;
  #checking: Promise<void> | undefined;
  #recovering: Promise<void> | undefined;
  #stopChecking = new AbortController();
  readonly #changes = new Semaphore();

  constructor(path: string, events: StorageEvents) {
    this.path = path;
    this.#events = events;
  }

  get logId(): string | undefined {
    return this.#contents.head?.id;
  }

  get endsFrom(): number {
    return this.#contents.head?.endsFrom ?? 1;
  }

  get first(): number {
    return this.#contents.first;
  }

  get last(): number {
    return this.#last;
  }

  /** Throws the damage that was found, and `LOG_UNREACHABLE` if the database is not open. */
  get database(): Database {
    return this.#opened.database;
  }

  get #opened(): OpenDatabase {
    if (this.#damage !== undefined) throw this.#damage;
    if (this.#open !== undefined) return this.#open;
    throw new CairnError(
      "LOG_UNREACHABLE",
      `The log in ${this.path} is not open.`,
      "Check the disk. After a failed write, the next transaction opens the log again.",
    );
  }

  /** Throws `LOG_UNREACHABLE` if the files are no longer those that were opened. */
  async check(): Promise<void> {
    await this.#open?.names.check();
  }

  /** Reopens the database if a failed write has closed it: a node that only reads must not depend on a writer. */
  async reopened(): Promise<Database> {
    if (this.#open === undefined && this.#failure !== undefined) await this.#recover(this.#failure);
    return this.database;
  }

  /** Returns the newest messages, starting with a position, as in {@link RecentMessages.from}. */
  recent(position: number, options: LogReadOptions): readonly LogMessage[] | undefined {
    return position < this.first ? undefined : this.#recent.from(position, options);
  }

  uses(database: Database): boolean {
    return this.#damage === undefined && this.#open?.database === database;
  }

  async open(options: OpeningOptions = this.#events): Promise<void> {
    const { database, claim, unchecked } = await openDatabase(this.path, options);
    const opened = { database, names: new FolderNames(this.path, claim) };
    try {
      this.#contents = await readContents(database);
      const { upgrade, last } = this.#contents;
      if (upgrade !== undefined) await this.#batch(opened, upgrade);
      for await (const keys of keysBetween(database, FORMAT_1.messageIds))
        await this.#batch(opened, removalOf(keys, last));
    } catch (error) {
      await database.close();
      throw databaseError(this.path, error);
    }
    this.#open = opened;
    this.#last = this.#contents.last;
    this.#stopChecking = new AbortController();
    this.#checking = unchecked === undefined ? undefined : this.#check(unchecked, this.#stopChecking.signal);
  }

  async close(): Promise<void> {
    const database = this.#open?.database;
    this.#open = undefined;
    this.#recent.clear();
    this.#stopChecking.abort();
    await this.#checking;
    await database?.close();
  }

  /** Compares tables with their checksums in the background, because LevelDB does not do so when it reads. */
  async #check(unchecked: UncheckedTables, signal: AbortSignal): Promise<void> {
    try {
      await checkUnchecked(unchecked, signal);
    } catch (error) {
      // Other failures, such as an unreadable disk, will also be reported by the next read or write.
      if (!isCairnError(error, "INDEX_CORRUPT")) return;
      this.#damage = damagedFile(this.path, error);
      this.#events.onChange();
    }
  }

  async begin(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    await this.#changes.run(async () => {
      if (this.#open === undefined) await this.open({ create: true, onNotice: this.#events.onNotice });
      if (this.#last > 0) return;
      const head = { id: this.logId ?? randomUUID(), endsFrom: 1 };
      try {
        // Both are in one batch, so that a log has either both or neither.
        const birth = { key: positionKey(1), number: messageTime(), content: birthRecord(head.id) };
        await this.#batch(
          this.#opened,
          batchOf([{ type: "put", key: HEAD_KEY, value: encodeHead(head) }], [birth]),
        );
        await endCreation(this.path);
      } catch (error) {
        // The files of the interrupted creation remain; the next attempt moves them aside.
        await this.close();
        this.#contents = nothing();
        throw databaseError(this.path, error);
      }
      this.#contents = { ...this.#contents, head };
      this.#last = 1;
      this.#events.onChange();
    });
  }

  async removeUnused(name: string, logId: string): Promise<void> {
    await this.#changes.run(async () => {
      if (this.#last !== 1 || this.first !== 1 || this.logId !== logId) throw usedLog(name, this.#last);
      await this.close();
      const removed = `${this.path}.unused`;
      await rm(removed, { recursive: true, force: true });
      // The database is moved away in a single step, because a partly removed database would be mistaken for a damaged
      // one.
      await rename(this.path, removed);
      await syncFolder(dirname(this.path));
      await rm(removed, { recursive: true, force: true });
      this.#contents = nothing();
      this.#last = 0;
    });
  }

  async store(group: readonly PendingAppend[]): Promise<readonly Appended[]> {
    try {
      return await this.#changes.run(() => this.#store(group));
    } catch (error) {
      if (!isCairnError(error, "INDEX_LOCKED")) throw error;
      // The other process may have found the messages.
      const { message, hint } = error;
      throw new CairnError("LOG_UNREACHABLE", message, { hint, cause: error });
    }
  }

  async #store(group: readonly PendingAppend[]): Promise<readonly Appended[]> {
    if (this.#failure !== undefined) await this.#recover(this.#failure);
    const time = messageTime();
    const rows: EndedRow[] = [];
    const messages: LogMessage[] = [];
    const fresh = new Map<string, number>();
    let last = this.#last;
    const appended = group.map(({ payload, messageId }): Appended => {
      const known =
        messageId === undefined ? undefined : (fresh.get(messageId) ?? this.#messageIds.get(messageId));
      if (known !== undefined) return { position: known, duplicate: true };
      last += 1;
      rows.push({ key: positionKey(last), number: time, content: payload });
      messages.push({ position: last, time, payload });
      if (messageId !== undefined) fresh.set(messageId, last);
      return { position: last, duplicate: false };
    });
    if (rows.length > 0) await this.#write(last, batchOf([], rows), messages);
    for (const [messageId, position] of fresh) this.#messageIds.add(messageId, position, time);
    return appended;
  }

  /** Removes the messages below `upTo`, oldest first, so that a crash leaves no hole. */
  async trim(upTo: number): Promise<void> {
    await this.#changes.run(async () => {
      if (this.#failure !== undefined) await this.#recover(this.#failure);
    });
    const { database } = this;
    // The bounds change before the rows are removed, because a message missing within the bounds would be mistaken for
    // a hole.
    this.#contents = { ...this.#contents, first: Math.max(this.first, upTo) };
    const lt = positionKey(upTo);
    try {
      for await (const keys of keysBetween(database, { gte: POSITIONS.gte, lt })) {
        await this.#changes.run(() => this.#remove(keys));
      }
      await database.compactRange(POSITIONS.gte, lt);
    } catch (error) {
      throw databaseError(this.path, error);
    }
  }

  /**
   * Removes rows. If this fails, it is unknown whether the rows remain, as it is after a failed {@link #write}; the
   * next write or trim resolves this. Nothing may be written behind a record that may be incomplete.
   */
  async #remove(keys: readonly Uint8Array[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#batch(this.#opened, removalOf(keys, this.#last));
    } catch (error) {
      this.#failure ??= databaseError(this.path, error);
      throw error;
    }
  }

  /**
   * Writes `rows`, which contain `messages` up to position `last`. A failed write leaves the write-ahead log in an
   * unknown state, in which later writes could be lost, until the database is reopened.
   */
  async #write(last: number, rows: readonly KvOperation[], messages: readonly LogMessage[]): Promise<void> {
    try {
      const writing = this.#batch(this.#opened, rows);
      this.#events.onStoring(messages);
      await writing;
    } catch (error) {
      this.#failure = databaseError(this.path, error);
      await this.#recover(this.#failure);
      if (this.#last < last) throw databaseError(this.path, error);
    }
    this.#last = last;
    this.#recent.add(messages);
    this.#events.onChange();
  }

  /**
   * The only way to change rows. Batches are synced one by one: a power loss damages only an unacknowledged last one.
   */
  async #batch({ database, names }: OpenDatabase, changes: readonly KvOperation[]): Promise<void> {
    await writeRows(database, changes, { sync: true });
    await names.flush();
  }

  async idle(): Promise<void> {
    await this.#changes.run(async () => undefined);
  }

  async #recover(failure: CairnError): Promise<void> {
    this.#recovering ??= this.#openAgain(failure).finally(() => {
      this.#recovering = undefined;
    });
    await this.#recovering;
  }

  /** Throws `failure` if reopening is not possible. While the disk is full, the database stays open for readers. */
  async #openAgain(failure: CairnError): Promise<void> {
    if (failure.code === "DISK_FULL" && !(await hasRoomToOpen(this.path))) throw failure;
    const acknowledged = this.#last;
    await this.close();
    this.#events.onChange();
    // If the folder was removed or its volume unmounted, opening would create a new log.
    if (!(await hasDatabase(this.path))) throw failure;
    const { logId } = this;
    // The callers of writes that are cut off here have already received the failure, so no copy is kept.
    await this.open({}).catch((error: unknown) => {
      if (!isCairnError(error, "INDEX_LOCKED")) throw this.#damage ?? error;
      const message = `Another process has opened the log in ${this.path}, whose file LOCK was removed while this process had the log open.`;
      const hint =
        "Stop both nodes, find out what removed the file, and start one of them again. It has everything that either of them acknowledged.";
      this.#damage = new CairnError("INDEX_LOCKED", message, { hint, cause: error });
      throw this.#damage;
    });
    if (this.logId !== logId || this.#last < acknowledged) {
      const lost = `lost its messages ${this.#last + 1} to ${acknowledged}`;
      this.#damage = damaged(
        `The log in ${this.path} ${this.logId === logId ? lost : "is another one now"}.`,
      );
      throw this.#damage;
    }
    this.#failure = undefined;
  }
}
