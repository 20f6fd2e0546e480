import { mkdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { CairnError, levelProvider, systemErrorCode, type KvStore } from "@cairn/kv";
import type { LogBounds, LogMessage, LogReadOptions, ModuleContext, TxLog } from "@cairn/node";
import { onDisk, unlessMissing } from "./file-system.ts";
import { GroupQueue } from "./group-queue.ts";
import { LogFile } from "./log-file.ts";
import type { Entry, StoredEntry } from "./log-frame.ts";
import { pathOption } from "./options.ts";

/** The error codes for disk errors. */
const CODES = { full: "DISK_FULL", denied: "CONFIG_INVALID", other: "LOG_UNREACHABLE" } as const;
const MAX_GROUP_BYTES = 4 * 1024 * 1024;
const MAX_ID_BYTES = 1_024;
/** The time (ms) for which message ids are remembered. The contract requires two minutes. */
const ID_MEMORY_MS = 10 * 60_000;

/** Opens the log of a single node in one append-only file. */
export async function openLog(
  options: Readonly<Record<string, unknown>>,
  context?: Pick<ModuleContext, "nodeId" | "dir">,
): Promise<TxLog> {
  const defaultPath = context === undefined ? undefined : join(context.dir, `${context.nodeId}-log`);
  const log = new FileLog(pathOption(options, defaultPath));
  try {
    await log.open();
  } catch (error) {
    await log.close();
    throw error;
  }
  return log;
}

interface Stored {
  readonly position: number;
  readonly duplicate: boolean;
}

class FileLog implements TxLog {
  readonly name: string;
  readonly maxPayload = 1024 * 1024;
  readonly #folder: string;
  readonly #path: string;
  readonly #ids = new Map<string, { readonly position: number; readonly time: number }>();
  readonly #atEnd = new Set<() => void>();
  readonly #queue: GroupQueue<Entry, Stored>;
  #lock: KvStore | undefined;
  #file: LogFile | undefined;
  #creating: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, "messages");
    this.#queue = new GroupQueue(
      (group) => this.#store(group),
      ({ payload }) => payload.length,
      MAX_GROUP_BYTES,
    );
    this.name = basename(folder);
  }

  /** Opens an existing log. Creates nothing if there is none. */
  async open(): Promise<void> {
    await this.#onDisk(async () => {
      if ((await unlessMissing(() => stat(this.#path))) !== undefined) await this.#openFile();
    });
  }

  async id(): Promise<string | undefined> {
    this.#assertOpen();
    return this.#file?.logId;
  }

  async exists(): Promise<boolean> {
    this.#assertOpen();
    return this.#file !== undefined;
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    this.#assertOpen();
    // Calls run one after another: all but the first find the log.
    const creating = this.#creating.then(() => this.#create(birthRecord));
    this.#creating = creating.catch(() => {});
    await creating;
  }

  async append(payload: Uint8Array, { messageId }: { messageId?: string } = {}): Promise<Stored> {
    this.#assertOpen();
    if (payload.length > this.maxPayload || Buffer.byteLength(messageId ?? "") > MAX_ID_BYTES) {
      throw new CairnError("TX_TOO_LARGE", `A message of ${payload.length} bytes is too large for the log.`, {
        hint: `The limit is ${this.maxPayload} bytes, and ${MAX_ID_BYTES} for the id. Split the transaction.`,
      });
    }
    this.#existing();
    return await this.#queue.add({ payload, messageId });
  }

  async bounds(): Promise<LogBounds> {
    return { first: 1, last: this.#existing().last };
  }

  async fetch(position: number): Promise<LogMessage | undefined> {
    const file = this.#existing();
    if (position < 1 || position > file.last) return undefined;
    const found = await this.#onDisk(() => file.entries(position).next());
    return found.done === true ? undefined : found.value;
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    const file = this.#existing();
    const { signal, maxMessages = 5_000, maxBytes = 8 * 1024 * 1024 } = options;
    const ended = (): boolean => signal.aborted || this.#closed;
    if (from > file.last + 1) return;
    let next = from;
    while (!ended()) {
      if (next > file.last) {
        await this.#untilWritten(signal);
        continue;
      }
      let messages: LogMessage[] = [];
      let bytes = 0;
      try {
        for await (const entry of file.entries(next)) {
          if (messages.length >= maxMessages || (bytes > 0 && bytes + entry.payload.length > maxBytes)) {
            yield messages;
            [messages, bytes] = [[], 0];
            if (ended()) return;
          }
          messages.push(entry);
          bytes += entry.payload.length;
          next = entry.position + 1;
        }
      } catch (error) {
        // Closing the file makes pending reads fail, which is not an error.
        if (ended() && systemErrorCode(error) === "EBADF") return;
        await this.#onDisk(() => Promise.reject(error));
      }
      if (messages.length > 0) yield messages;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#creating;
    await this.#queue.idle();
    await this.#file?.close();
    await this.#lock?.close();
  }

  async #create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    if (this.#file !== undefined) return;
    await this.#onDisk(async () => {
      await mkdir(this.#folder, { recursive: true });
      // Another process may have created the log just before this one took the lock.
      if (await this.#openFile()) return;
      await LogFile.create(this.#path, birthRecord);
      await this.#openFile();
    });
  }

  /** Takes the lock and opens the file. Opening truncates an unfinished frame, so no other process may be writing. */
  async #openFile(): Promise<boolean> {
    // LevelDB's lock is released whenever its process ends. Node has no such lock.
    this.#lock ??= await levelProvider().open(join(this.#folder, "lock"));
    this.#file = await LogFile.open(this.#path, (entry) => this.#remember(entry));
    return this.#file !== undefined;
  }

  async #store(group: readonly Entry[]): Promise<Stored[]> {
    // A group can be stored even while the log is being closed, because messages that were accepted before must be
    // stored.
    const file = this.#opened();
    const time = Date.now();
    const fresh: StoredEntry[] = [];
    const freshIds = new Map<string, number>();
    const results = group.map(({ payload, messageId = "" }) => {
      const known = freshIds.get(messageId) ?? this.#ids.get(messageId)?.position;
      if (known !== undefined) return { position: known, duplicate: true };
      const position = file.last + fresh.length + 1;
      fresh.push({ position, time, payload, messageId });
      if (messageId !== "") freshIds.set(messageId, position);
      return { position, duplicate: false };
    });
    if (fresh.length > 0) await this.#onDisk(() => file.append(time, fresh));
    for (const entry of fresh) this.#remember(entry);
    this.#wake();
    return results;
  }

  #remember({ messageId, position, time }: StoredEntry): void {
    const oldest = Date.now() - ID_MEMORY_MS;
    if (messageId === "" || time < oldest) return;
    this.#ids.set(messageId, { position, time });
    for (const [id, entry] of this.#ids) {
      if (entry.time >= oldest) break;
      this.#ids.delete(id);
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new CairnError("LOG_UNREACHABLE", `The log "${this.name}" is closed.`);
  }

  #existing(): LogFile {
    this.#assertOpen();
    return this.#opened();
  }

  #opened(): LogFile {
    if (this.#file !== undefined) return this.#file;
    throw new CairnError("LOG_UNREACHABLE", `There is no log in ${this.#folder}.`, {
      hint: "Start a node, which creates the log when it starts for the first time.",
    });
  }

  #onDisk<T>(work: () => Promise<T>): Promise<T> {
    return onDisk(CODES, `The log in ${this.#folder}`, work);
  }

  #wake(): void {
    for (const wake of this.#atEnd) wake();
  }

  async #untilWritten(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#atEnd.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#atEnd.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}
