import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, readdir, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { syncFolder, unlessAborted, unlessFailed } from "@cairn/kv";
import type { StoredContent, StoredFile, StoredRanges } from "../../store/checkpoint-store.ts";
import { CHECKPOINT_PREFIX } from "../../store/checkpoint.ts";
import { LEASE_PREFIX } from "../../store/lease-record.ts";
import { folderError, inFolder } from "./folder-errors.ts";
import { endsEarly, isStoreName, notAFile } from "../../store/stored-files.ts";

const READ_BYTES = 256 * 1024;

export interface OpenFile {
  readonly file: FileHandle;
  readonly size: number;
}

/** The prefixes of files that are never in a folder of the store. A folder with such a name is foreign. */
const NEVER_IN_FOLDERS = [CHECKPOINT_PREFIX, LEASE_PREFIX];

/** Returns the files in `folder` below `root` whose names begin with `prefix`, at most one folder deep, unordered. */
export async function listFolder(
  root: string,
  folder: string,
  prefix: string,
  location: string,
): Promise<StoredFile[]> {
  const found: StoredFile[] = [];
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    const name = folder + entry.name;
    if (!isStoreName(name)) continue;
    if (entry.isDirectory()) {
      const inside = `${name}/`;
      if (folder === "" && mayContain(inside, prefix)) {
        const enter = (): Promise<StoredFile[]> => listFolder(root, inside, prefix, location);
        found.push(...(await inFolder(location, `listing the files in ${inside}`, enter)));
      }
      continue;
    }
    if (!name.startsWith(prefix)) continue;
    const file = await statOf(join(root, name), entry.isSymbolicLink());
    if (file?.isFile() === true) {
      found.push({ name, bytes: file.size, modifiedAt: Math.floor(file.mtimeMs) });
    }
  }
  return found;
}

/** Other folders are not entered: they may contain anything, and this user may not be allowed to read them. */
function mayContain(folder: string, prefix: string): boolean {
  if (NEVER_IN_FOLDERS.some((outside) => prefix.startsWith(outside))) return false;
  return folder.startsWith(prefix) || prefix.startsWith(folder);
}

const BROKEN_LINK = ["ENOENT", "ELOOP", "ENOTDIR", "EACCES", "EPERM", "ENAMETOOLONG"] as const;

/** Returns the metadata of a file; undefined if it no longer exists, or if `viaLink` is true and the link is broken. */
export async function statOf(path: string, viaLink = false): Promise<Stats | undefined> {
  // Another node may have removed the file since the listing, and a broken link must not hide other files.
  return await unlessFailed(stat(path), viaLink ? BROKEN_LINK : "ENOENT", undefined);
}

export async function isLink(path: string): Promise<boolean> {
  return (await unlessFailed(lstat(path), "ENOENT", undefined))?.isSymbolicLink() === true;
}

export async function removeFile(path: string, durable: boolean): Promise<void> {
  const removing = unlink(path).then(() => true);
  if ((await unlessFailed(removing, "ENOENT", false)) && durable) await syncFolder(dirname(path));
}

/** Opens a file for reading. Throws `CHECKPOINT_CORRUPT` if it is not a regular file. */
export async function openFile(path: string, name: string): Promise<OpenFile> {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const found = await file.stat();
    if (!found.isFile()) throw notAFile(name);
    return { file, size: found.size };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads ranges of a file, which stays open: every read is of the same version, even if another takes its name. */
export function readFileRanges({ file, size }: OpenFile, name: string, location: string): StoredRanges {
  const read = async (start: number, end: number): Promise<Buffer> => {
    // A damaged manifest may name any number, so it is compared before memory is allocated.
    if (end > size) throw endsEarly(name, location, end);
    const content = Buffer.allocUnsafe(end - start);
    for (let at = 0; at < content.length;) {
      const { bytesRead } = await file.read(content, at, content.length - at, start + at);
      if (bytesRead === 0) throw endsEarly(name, location, end);
      at += bytesRead;
    }
    return content;
  };
  const explained = (start: number, end: number): Promise<Buffer> =>
    inFolder(location, `reading ${name}`, () => read(start, end));
  return {
    read: (start, end, signal) => unlessAborted(explained(start, end), signal),
    close: () => file.close(),
  };
}

/** The file is closed at its end, after an error, and when the stream is destroyed. */
export function readFileStream(
  handle: FileHandle,
  doing: string,
  location: string,
  signal: AbortSignal | undefined,
): StoredContent {
  const explain = (error: unknown): unknown => folderError(error, doing, location);
  // This is not a generator, because one that is never started would never close the file.
  const stream = new Readable({
    highWaterMark: 4 * READ_BYTES,
    signal,
    async read() {
      try {
        const { bytesRead, buffer } = await handle.read(
          Buffer.allocUnsafeSlow(READ_BYTES),
          0,
          READ_BYTES,
          null,
        );
        this.push(bytesRead === 0 ? null : buffer.subarray(0, bytesRead));
      } catch (error) {
        const failure = explain(error);
        this.destroy(failure instanceof Error ? failure : new Error(String(failure)));
      }
    },
    async destroy(error, done) {
      try {
        await handle.close();
        done(error);
      } catch (failure) {
        done(failure instanceof Error ? failure : error);
      }
    },
  });
  // A stream that is aborted before it is read would otherwise end the process; a reader receives the error anyway.
  stream.on("error", () => undefined);
  return Object.assign(stream, { file: handle.fd, explain });
}
