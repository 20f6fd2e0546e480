import { randomUUID } from "node:crypto";
import { open, rename } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { CairnError } from "@cairn/kv";
import { syncFolder, unlessMissing } from "./file-system.ts";
import { bodyLength, countOf, decodeBody, encodeFrame, HEADER_BYTES, isWhole } from "./log-frame.ts";
import type { Entry, StoredEntry } from "./log-frame.ts";

const FIRST_LINE = /^cairn-example-log\/1 ([0-9a-f-]{36})\n$/;
const FIRST_LINE_BYTES = "cairn-example-log/1 ".length + 37;
/**
 * The distance in bytes between two remembered positions in the file. About this many bytes are read to find a message.
 */
const MARK_BYTES = 64 * 1024;

interface Mark {
  readonly position: number;
  readonly offset: number;
}

/** An append-only file of messages: a line with the log's id, then a frame for each group of messages. */
export class LogFile {
  readonly logId: string;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #marks: Mark[] = [{ position: 1, offset: FIRST_LINE_BYTES }];
  #end = FIRST_LINE_BYTES;
  #last = 0;
  #torn = false;

  private constructor(path: string, handle: FileHandle, logId: string) {
    this.#path = path;
    this.#handle = handle;
    this.logId = logId;
  }

  /** Creates the file with its first message. */
  static async create(path: string, birthRecord: (logId: string) => Uint8Array): Promise<void> {
    const logId = randomUUID();
    const frame = encodeFrame(Date.now(), [{ payload: birthRecord(logId), messageId: undefined }]);
    const draft = await open(`${path}.new`, "w");
    try {
      await draft.writeFile(Buffer.concat([Buffer.from(`cairn-example-log/1 ${logId}\n`), frame]));
      await draft.sync();
    } finally {
      await draft.close();
    }
    // Only the complete file receives the name, so that every log has an id and a birth record.
    await rename(`${path}.new`, path);
    await syncFolder(dirname(path));
  }

  /**
   * Opens the file and calls `onEntry` with every message. A damaged frame at the end of the file was never
   * acknowledged and is truncated. If there is damage before it, throws `LOG_GAP`. Returns undefined if there is no
   * file.
   */
  static async open(path: string, onEntry: (entry: StoredEntry) => void): Promise<LogFile | undefined> {
    const handle = await unlessMissing(() => open(path, "r+"));
    if (handle === undefined) return undefined;
    try {
      const line = Buffer.alloc(FIRST_LINE_BYTES);
      await handle.read(line, 0, FIRST_LINE_BYTES, 0);
      const logId = FIRST_LINE.exec(line.toString("latin1"))?.[1];
      if (logId === undefined) throw damaged(path, 0);
      const file = new LogFile(path, handle, logId);
      const { size } = await handle.stat();
      for await (const { body, offset } of file.#frames(FIRST_LINE_BYTES, size)) {
        for (const entry of decodeBody(body, file.#last + 1)) onEntry(entry);
        file.#grow(offset, body);
      }
      if (file.#end < size) await handle.truncate(file.#end);
      return file;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get last(): number {
    return this.#last;
  }

  /**
   * Writes and flushes a frame. If that fails, the part that was written is truncated by the next call, or when the
   * file is next opened.
   */
  async append(time: number, entries: readonly Entry[]): Promise<void> {
    if (this.#torn) await this.#handle.truncate(this.#end);
    this.#torn = true;
    const frame = encodeFrame(time, entries);
    for (let written = 0; written < frame.length;) {
      const rest = frame.length - written;
      written += (await this.#handle.write(frame, written, rest, this.#end + written)).bytesWritten;
    }
    await this.#handle.datasync();
    this.#torn = false;
    this.#grow(this.#end, frame.subarray(HEADER_BYTES));
  }

  /** Yields the messages from a position to the current last one. Throws `LOG_GAP` if they are no longer in the file. */
  async *entries(from: number): AsyncGenerator<StoredEntry> {
    const end = this.#end;
    const last = this.#last;
    const mark = this.#markBefore(from);
    let position = mark.position;
    for await (const { body } of this.#frames(mark.offset, end)) {
      const next = position + countOf(body);
      if (next > from) {
        for (const entry of decodeBody(body, position)) if (entry.position >= from) yield entry;
      }
      position = next;
    }
    // Otherwise a reader that waits for the rest would read the same messages repeatedly.
    if (position <= last) throw damaged(this.#path, end);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  #grow(offset: number, body: Buffer): void {
    if (offset - (this.#marks.at(-1)?.offset ?? 0) >= MARK_BYTES) {
      this.#marks.push({ position: this.#last + 1, offset });
    }
    this.#last += countOf(body);
    this.#end = offset + HEADER_BYTES + body.length;
  }

  #markBefore(position: number): Mark {
    let [low, high] = [0, this.#marks.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#marks[middle]?.position ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    return this.#marks[low] ?? { position: 1, offset: FIRST_LINE_BYTES };
  }

  async *#frames(from: number, end: number): AsyncGenerator<{ body: Buffer; offset: number }> {
    const header = Buffer.alloc(HEADER_BYTES);
    for (let offset = from; offset + HEADER_BYTES <= end;) {
      await this.#handle.read(header, 0, HEADER_BYTES, offset);
      const length = bodyLength(header);
      if (length === undefined) throw damaged(this.#path, offset);
      const next = offset + HEADER_BYTES + length;
      if (next > end) return;
      const body = Buffer.alloc(length);
      await this.#handle.read(body, 0, length, offset + HEADER_BYTES);
      if (!isWhole(header, body)) {
        // Each group is written after the previous one is flushed, so a crash can only have cut the last frame.
        if (next === end) return;
        throw damaged(this.#path, offset);
      }
      yield { body, offset };
      offset = next;
    }
  }
}

function damaged(path: string, offset: number): CairnError {
  return new CairnError("LOG_GAP", `The log ${path} is damaged at byte ${offset}.`, {
    hint: "Restore the file from a copy.",
  });
}
