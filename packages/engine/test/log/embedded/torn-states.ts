import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { bytes, takeMessages, text } from "../../../testing/log-messages.ts";

/** The size of a file system's writes in bytes. */
export const PAGE = 4_096;

/** A closed log whose messages are all in one write-ahead log, with the end of each group of appends in it. */
export interface WrittenLog {
  readonly path: string;
  readonly wal: string;
  readonly content: Buffer;
  /** The bytes of the write-ahead log and the acknowledged messages after each group. */
  readonly groups: readonly { readonly bytes: number; readonly last: number }[];
}

/** The result of opening a log whose files were changed. */
export interface Opened {
  /** The last position; undefined if the log was refused. */
  readonly last: number | undefined;
  readonly code: string | undefined;
  readonly notices: readonly string[];
}

/** Returns the payload of message `n`. All payloads differ and, like Cairn's own payloads, contain no zero byte. */
export function payload(n: number, size: number): string {
  return `${n}:`.padEnd(size, `message ${n} `);
}

/** Writes a log in a new folder. Each group has messages of these sizes. */
export async function writeLog(folder: string, groups: readonly (readonly number[])[]): Promise<WrittenLog> {
  const path = join(folder, "log");
  const log = await openEmbeddedTxLog({ path });
  await log.create(() => bytes(payload(1, 100)));
  const [wal = ""] = (await readdir(path)).filter((name) => name.endsWith(".log"));
  const size = async (): Promise<number> => (await stat(join(path, wal))).size;
  const ends = [{ bytes: await size(), last: 1 }];
  let last = 1;
  for (const sizes of groups) {
    // Calls in one turn of the event loop are stored together.
    await Promise.all(sizes.map((bytesOfOne) => log.append(bytes(payload(++last, bytesOfOne)))));
    ends.push({ bytes: await size(), last });
  }
  await log.close();
  return { path, wal, content: await readFile(join(path, wal)), groups: ends };
}

/** Opens a copy of the log with another write-ahead log. Throws unless its messages are the ones that were written. */
export async function openWith(log: WrittenLog, content: Uint8Array): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-torn-"));
  const path = join(folder, "log");
  const notices: string[] = [];
  try {
    await cp(log.path, path, { recursive: true });
    await writeFile(join(path, log.wal), content);
    const before = await readdir(path);
    try {
      const opened = await openEmbeddedTxLog({ path, onNotice: (notice) => notices.push(notice) });
      const { last } = await opened.bounds();
      const messages = await takeMessages(opened, 1, last);
      for (const [index, message] of messages.entries()) {
        const found = text(message) ?? "";
        if (found !== payload(index + 1, found.length))
          throw new Error(`message ${index + 1} is a different one`);
      }
      // Appends must continue after the last message.
      if ((await opened.append(bytes("next"))).position !== last + 1) throw new Error("another position");
      await opened.close();
      return { last, code: undefined, notices };
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === undefined) throw error;
      const isSame = (await readFile(join(path, log.wal))).equals(Buffer.from(content));
      if (!isSame || (await readdir(path)).length !== before.length)
        throw new Error("a refused log was changed", { cause: error });
      return { last: undefined, code, notices };
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Zeroes the bytes of pages that never arrived. */
export function without(content: Buffer, ...parts: readonly (readonly [from: number, to: number])[]): Buffer {
  const changed = Buffer.from(content);
  for (const [from, to] of parts) changed.fill(0, from, Math.min(to, changed.length));
  return changed;
}

/** Returns the beginnings and ends of a file's pages, limited to the range between two offsets. */
export function pagesBetween(from: number, to: number, page = PAGE): [from: number, to: number][] {
  const pages: [number, number][] = [];
  for (let at = from; at < to; at = at - (at % page) + page)
    pages.push([at, Math.min(to, at - (at % page) + page)]);
  return pages;
}
