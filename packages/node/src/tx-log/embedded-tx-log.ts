import { randomUUID } from "node:crypto";
import { basename, resolve as absolute } from "node:path";
import { CairnError } from "@cairn/kv";
import { learnContents, type LogContents, storedMessages } from "./embedded-contents.ts";
import { type Database, databaseError, hasDatabase, openDatabase } from "./embedded-database.ts";
import { decodeRow, encodeRow, LOG_ID_KEY, positionKey } from "./embedded-row.ts";
import { type Appended, GroupCommit, type PendingAppend } from "./group-commit.ts";
import type { MessageIdMemory } from "./message-id-memory.ts";
import type { LogBounds, LogMessage, LogReadOptions, TxLog } from "./tx-log.ts";

/** Where an embedded log lies. */
export interface EmbeddedTxLogOptions {
  readonly path: string;
  /** Default: the folder's name. */
  readonly name?: string;
}

const MAX_PAYLOAD = 8 * 1024 * 1024;
// The length of an id is kept in two bytes.
const MAX_MESSAGE_ID = 1_024;

/**
 * Opens the log of a single node, a LevelDB of its own in `path`. Makes nothing on disk before `create`; until then
 * `append`, `bounds`, `fetch` and `read` reject with `LOG_UNREACHABLE`.
 * Errors: `INDEX_LOCKED` (another process has it open), `LOG_GAP` (damaged), `CONFIG_INVALID` (the folder holds another
 * database), `DISK_FULL`, `LOG_UNREACHABLE`.
 */
export async function openEmbeddedTxLog(options: EmbeddedTxLogOptions): Promise<TxLog> {
  const path = absolute(options.path);
  const log = new EmbeddedTxLog(path, options.name ?? basename(path));
  if (await hasDatabase(path)) await log.open();
  return log;
}

class EmbeddedTxLog implements TxLog {
  readonly name: string;
  readonly maxPayload = MAX_PAYLOAD;
  readonly #path: string;
  readonly #commit = new GroupCommit((group) => this.#store(group));
  readonly #atTail = new Set<() => void>();
  #database: Database | undefined;
  #damaged = false;
  #closed = false;
  #creating: Promise<void> | undefined;
  #logId: string | undefined;
  #first = 1;
  #last = 0;
  #messageIds: MessageIdMemory | undefined;

  constructor(path: string, name: string) {
    this.#path = path;
    this.name = name;
  }

  async open(): Promise<void> {
    const database = await openDatabase(this.#path);
    let contents: LogContents;
    try {
      contents = await learnContents(database);
    } catch (error) {
      await database.close();
      throw databaseError(this.#path, error);
    }
    this.#database = database;
    this.#logId = contents.logId;
    this.#first = contents.first;
    this.#last = contents.last;
    this.#messageIds = contents.messageIds;
  }

  async id(): Promise<string | undefined> {
    this.#checkNotClosed();
    return this.#logId;
  }

  async exists(): Promise<boolean> {
    this.#checkNotClosed();
    return this.#last > 0;
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    this.#checkNotClosed();
    this.#creating ??= this.#create(birthRecord);
    try {
      await this.#creating;
    } finally {
      this.#creating = undefined;
    }
  }

  async append(payload: Uint8Array, options: { messageId?: string } = {}): Promise<Appended> {
    if (!this.#damaged) this.#opened();
    this.#checkNotClosed();
    if (payload.length > MAX_PAYLOAD || Buffer.byteLength(options.messageId ?? "") > MAX_MESSAGE_ID) {
      throw new CairnError(
        "TX_TOO_LARGE",
        `A message of ${payload.length} bytes is larger than the log takes.`,
        {
          hint: `The limit is ${MAX_PAYLOAD} bytes, and ${MAX_MESSAGE_ID} for the message's id. Split the transaction.`,
        },
      );
    }
    return this.#commit.append(payload, options.messageId);
  }

  async bounds(): Promise<LogBounds> {
    this.#opened();
    return { first: this.#first, last: this.#last };
  }

  async fetch(position: number): Promise<LogMessage | undefined> {
    const database = this.#opened();
    if (position < this.#first || position > this.#last) return undefined;
    try {
      const value = await database.get(positionKey(position));
      return value === undefined ? undefined : decodeRow(position, value);
    } catch (error) {
      throw databaseError(this.#path, error);
    }
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    const { signal } = options;
    const database = this.#opened();
    const usable = (): boolean => !signal.aborted && !this.#closed && this.#database === database;
    if (from > this.#last + 1) return;
    let next = Math.max(from, this.#first);
    while (usable()) {
      if (next > this.#last) {
        await this.#untilAppended(signal);
        continue;
      }
      try {
        for await (const messages of storedMessages(database, positionKey(next), options)) {
          if (!usable()) return;
          next = (messages.at(-1)?.position ?? next) + 1;
          yield messages;
        }
      } catch (error) {
        // Closing the database fails the reads under way: an interruption, not a fault.
        if (!usable()) return;
        throw databaseError(this.#path, error);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wakeReaders();
    await Promise.allSettled([this.#creating]);
    await this.#commit.idle();
    await this.#database?.close();
  }

  #checkNotClosed(): void {
    if (this.#closed) throw new CairnError("LOG_UNREACHABLE", `The log "${this.name}" is closed.`);
  }

  #opened(): Database {
    this.#checkNotClosed();
    if (this.#database !== undefined) return this.#database;
    if (this.#damaged)
      throw new CairnError("LOG_UNREACHABLE", `The log in ${this.#path} has to be opened again.`);
    throw new CairnError("LOG_UNREACHABLE", `There is no log in ${this.#path}.`, {
      hint: "It is made when a node starts with it for the first time.",
    });
  }

  async #create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    if (this.#database === undefined) await this.open();
    if (this.#last > 0) return;
    const logId = this.#logId ?? randomUUID();
    const birth = encodeRow(Date.now(), undefined, birthRecord(logId));
    try {
      // One batch, so that a log has both its id and its birth record or, for the next start, neither.
      await this.#opened().batch(
        [
          { type: "put", key: LOG_ID_KEY, value: Buffer.from(logId) },
          { type: "put", key: positionKey(1), value: birth },
        ],
        { sync: true },
      );
    } catch (error) {
      throw databaseError(this.#path, error);
    }
    this.#logId = logId;
    this.#last = 1;
    this.#wakeReaders();
  }

  async #store(group: readonly PendingAppend[]): Promise<readonly Appended[]> {
    if (this.#damaged) await this.#reopen();
    const database = this.#database;
    if (database === undefined)
      throw new CairnError("LOG_UNREACHABLE", `The log in ${this.#path} is not open.`);
    const time = Date.now();
    const rows: { type: "put"; key: Uint8Array; value: Uint8Array }[] = [];
    const fresh = new Map<string, number>();
    let last = this.#last;
    const appended = group.map(({ payload, messageId }): Appended => {
      const known =
        messageId === undefined ? undefined : (fresh.get(messageId) ?? this.#messageIds?.get(messageId));
      if (known !== undefined) return { position: known, duplicate: true };
      last += 1;
      rows.push({ type: "put", key: positionKey(last), value: encodeRow(time, messageId, payload) });
      if (messageId !== undefined) fresh.set(messageId, last);
      return { position: last, duplicate: false };
    });
    if (rows.length === 0) return appended;
    try {
      await database.batch(rows, { sync: true });
    } catch (error) {
      await this.#afterFailedWrite(last, error);
      return appended;
    }
    for (const [messageId, position] of fresh) this.#messageIds?.add(messageId, position, time);
    this.#last = last;
    this.#wakeReaders();
    return appended;
  }

  /**
   * A failed write leaves the write-ahead log in an unknown state: part of it may be there, all of it, or nothing, and
   * what would be written behind it could be lost. Opening again finds out which; returns when the messages are there.
   */
  async #afterFailedWrite(last: number, error: unknown): Promise<void> {
    this.#damaged = true;
    await this.#reopen();
    if (this.#last < last) throw databaseError(this.#path, error);
  }

  async #reopen(): Promise<void> {
    await this.#database?.close();
    this.#database = undefined;
    this.#wakeReaders();
    await this.open();
    this.#damaged = false;
  }

  #wakeReaders(): void {
    for (const wake of this.#atTail) wake();
  }

  async #untilAppended(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#atTail.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#atTail.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}
