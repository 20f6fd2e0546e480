import { mkdir, open, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  CairnError,
  levelProvider,
  type KvCapture,
  type KvOperation,
  type KvProvider,
  type KvSnapshot,
  type KvStats,
  type KvStore,
} from "@cairn/kv";
import { onDisk, syncFolder, unlessMissing } from "./file-system.ts";
import { decodeLine, encodeLine, FORMAT, linesOf, writeRows } from "./row-lines.ts";
import { RowsReader, withBatch } from "./sorted-rows.ts";
import type { SortedRows } from "./sorted-rows.ts";

/** The error codes for disk errors. */
const CODES = { full: "DISK_FULL", denied: "CONFIG_INVALID", other: "INDEX_CORRUPT" } as const;
const ROWS = "rows.jsonl";
const DRAFT = "rows.jsonl.new";
const LOCK = "lock";
const MAX_PENDING_OPERATIONS = 20_000;
/** The size in bytes below which compacting a file is not worthwhile. */
const MIN_COMPACTED_BYTES = 16 * 1024 * 1024;

/** Returns stores for small indexes, whose rows are in memory in a sorted array, and in a file with a line for each batch. */
export function createKv(): KvProvider {
  return {
    format: FORMAT,
    persistent: true,
    open: (place) => {
      const dir = resolve(place);
      return onDisk(CODES, `The index in ${dir}`, () => openStore(dir));
    },
  };
}

async function openStore(dir: string): Promise<KvStore> {
  await mkdir(dir, { recursive: true });
  const names = await readdir(dir);
  const foreign = names.find((name) => ![ROWS, DRAFT, LOCK].includes(name));
  if (!names.includes(ROWS) && foreign !== undefined) {
    throw new CairnError("INDEX_CORRUPT", `${dir} contains files such as ${foreign}, but no index.`, {
      hint: "Choose an empty directory, or one that contains an index. Nothing there was changed.",
    });
  }
  // LevelDB's lock is released whenever its process ends. Node has no such lock.
  const lock = await levelProvider().open(join(dir, LOCK));
  try {
    const path = join(dir, ROWS);
    if (!names.includes(ROWS)) await replaceRows(dir, []);
    const rows = await readRows(path);
    return new ArrayStore(dir, lock, await open(path, "a"), rows, (await stat(path)).size);
  } catch (error) {
    await lock.close();
    throw error;
  }
}

/** Reads a file of rows, and truncates an unfinished last line. */
async function readRows(path: string): Promise<SortedRows> {
  let rows: SortedRows = [];
  let pending: KvOperation[] = [];
  let whole = 0;
  for await (const line of linesOf(path)) {
    const operations = whole === 0 ? (line === FORMAT ? [] : undefined) : decodeLine(line);
    if (operations === undefined) {
      throw new CairnError("INDEX_CORRUPT", `The index ${path} is damaged at byte ${whole}.`, {
        hint: "Restore a checkpoint.",
      });
    }
    pending.push(...operations);
    // Applies many batches at once, because each application copies the array.
    if (pending.length > MAX_PENDING_OPERATIONS) [rows, pending] = [withBatch(rows, pending), []];
    whole += Buffer.byteLength(line) + 1;
  }
  if (whole === 0) throw new CairnError("INDEX_CORRUPT", `The index ${path} has no first line.`);
  await truncate(path, whole);
  return withBatch(rows, pending);
}

async function replaceRows(dir: string, rows: SortedRows): Promise<number> {
  const bytes = await writeRows(join(dir, DRAFT), rows);
  await rename(join(dir, DRAFT), join(dir, ROWS));
  await syncFolder(dir);
  return bytes;
}

class ArrayStore extends RowsReader implements KvStore {
  readonly #dir: string;
  readonly #lock: KvStore;
  readonly #captures = new Set<Promise<unknown>>();
  #file: FileHandle;
  #rows: SortedRows;
  #bytes: number;
  #compactAtBytes = MIN_COMPACTED_BYTES;
  #writing: Promise<unknown> = Promise.resolve();
  #failure: unknown;
  #closing: Promise<void> | undefined;

  constructor(dir: string, lock: KvStore, file: FileHandle, rows: SortedRows, bytes: number) {
    super(() => this.#open());
    this.#dir = dir;
    this.#lock = lock;
    this.#file = file;
    this.#rows = rows;
    this.#bytes = bytes;
  }

  async batch(operations: readonly KvOperation[], options: { sync?: boolean } = {}): Promise<void> {
    this.#open();
    // The operations are encoded now, because the caller may reuse its buffers as soon as this method returns.
    const line = encodeLine(operations);
    const copy = decodeLine(line.slice(0, -1)) ?? [];
    await this.#write(async () => {
      await this.#file.appendFile(line);
      if (options.sync === true) await this.#file.datasync();
      this.#bytes += Buffer.byteLength(line);
      this.#rows = withBatch(this.#rows, copy);
      if (this.#bytes > this.#compactAtBytes) await this.#compact();
    });
  }

  snapshot(): KvSnapshot {
    const rows = this.#open();
    let closed = false;
    const reader = new RowsReader(() => {
      this.#open();
      if (!closed) return rows;
      throw new CairnError("NOT_READY", `A snapshot of ${this.#dir} is closed.`);
    });
    const close = async (): Promise<void> => {
      closed = true;
    };
    return Object.assign(reader, { close });
  }

  async capture(dir: string): Promise<KvCapture> {
    const capture = this.#onDisk(() => captureRows(this.#open(), resolve(dir)));
    this.#captures.add(capture);
    try {
      return { linked: 0, copied: 1, bytes: await capture };
    } finally {
      this.#captures.delete(capture);
    }
  }

  async compact(): Promise<void> {
    this.#open();
    await this.#write(() => this.#compact());
  }

  async stats(): Promise<KvStats> {
    this.#open();
    return { bytes: this.#bytes, files: 1 };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled([this.#writing, ...this.#captures]);
    await this.#file.close();
    await this.#lock.close();
    // A captured copy is opened before it becomes a checkpoint, which must contain only regular files.
    await rm(join(this.#dir, LOCK), { recursive: true, force: true });
  }

  /**
   * Changes the file, one change after another. No change follows a failed one, because the end of the file is then
   * unknown.
   */
  async #write(work: () => Promise<void>): Promise<void> {
    const before = this.#writing;
    const writing = (async () => {
      await before;
      if (this.#failure !== undefined) throw this.#failure;
      try {
        await this.#onDisk(work);
      } catch (error) {
        this.#failure = error;
        throw error;
      }
    })();
    this.#writing = writing.catch(() => {});
    await writing;
  }

  async #compact(): Promise<void> {
    this.#bytes = await replaceRows(this.#dir, this.#rows);
    await this.#file.close();
    this.#file = await open(join(this.#dir, ROWS), "a");
    this.#compactAtBytes = Math.max(MIN_COMPACTED_BYTES, 2 * this.#bytes);
  }

  #open(): SortedRows {
    if (this.#closing === undefined) return this.#rows;
    throw new CairnError("NOT_READY", `The index in ${this.#dir} is closed.`);
  }

  #onDisk<T>(work: () => Promise<T>): Promise<T> {
    return onDisk(CODES, `The index in ${this.#dir}`, work);
  }
}

async function captureRows(rows: SortedRows, dir: string): Promise<number> {
  const made = (await mkdir(dir, { recursive: true })) !== undefined;
  if ((await readdir(dir)).length > 0) {
    throw new CairnError("CONFLICT", `Nothing was captured into ${dir}, because it is not empty.`, {
      hint: "Choose an empty directory, or one that does not exist.",
    });
  }
  try {
    return await writeRows(join(dir, ROWS), rows);
  } catch (error) {
    await unlessMissing(() => rm(made ? dir : join(dir, ROWS), { recursive: true }));
    throw error;
  }
}
