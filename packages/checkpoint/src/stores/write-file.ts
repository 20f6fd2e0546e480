import { randomBytes } from "node:crypto";
import { link, open, readdir, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder, systemErrorCode } from "@cairn/kv";
import { TEMPORARY_PREFIX } from "./store-names.ts";

/** What file systems without hard links answer to a link. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);
/** What file systems that cannot flush a folder answer; there it is done with the file. */
const NO_FOLDER_SYNC = new Set(["EINVAL", "ENOTSUP", "EISDIR", "EPERM"]);

/** A file being written under a name that never lists. */
export interface TemporaryFile {
  readonly path: string;
  readonly handle: FileHandle;
}

/** Makes a temporary file in `folder`, and the folder where there is none. */
export async function createTemporary(folder: string): Promise<TemporaryFile> {
  const path = join(folder, TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
  try {
    return { path, handle: await open(path, "wx") };
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
  const made = await makeFolder(folder);
  if (made !== undefined) await syncFolder(dirname(made));
  return { path, handle: await open(path, "wx") };
}

/** Closes and removes a temporary file; fine when it is gone. */
export async function discard(file: TemporaryFile): Promise<void> {
  await file.handle.close();
  await rm(file.path, { force: true });
}

/** Writes `text` to a temporary file, which is gone when that fails. */
export async function fill(file: TemporaryFile, text: string): Promise<void> {
  try {
    await file.handle.writeFile(text);
  } catch (error) {
    await discard(file);
    throw error;
  }
}

/**
 * Gives a finished temporary file its name, unless there is one of that name: then false and the temporary is gone.
 * `atomic` tells whether only one of several racers can have won.
 */
export async function publishNew(
  file: TemporaryFile,
  target: string,
): Promise<{ readonly done: boolean; readonly atomic: boolean }> {
  let outcome: { done: boolean; atomic: boolean };
  try {
    // The content before the name: after a power loss a name must not lead to half a file.
    await file.handle.sync();
    // A rename would overwrite; of several links to one name only the first succeeds.
    await link(file.path, target);
    outcome = { done: true, atomic: true };
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "EEXIST") {
      // A network file system repeats a link whose answer was lost and then finds its own: two names are the sign.
      outcome = { done: (await file.handle.stat()).nlink > 1, atomic: true };
    } else if (code !== undefined && NO_LINKS.has(code)) {
      outcome = { done: await renameUnlessThere(file.path, target), atomic: false };
    } else {
      await discard(file);
      throw error;
    }
  }
  await discard(file);
  await syncFolder(dirname(target));
  return outcome;
}

async function renameUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await stat(to);
    return false;
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
  await rename(from, to);
  return true;
}

/** Makes names in a folder survive a power loss. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch (error) {
    if (!NO_FOLDER_SYNC.has(systemErrorCode(error) ?? "")) throw error;
  } finally {
    await handle.close();
  }
}

/** What tells, for each file of a folder, that its content is still what it was. */
export type FileMarks = ReadonlyMap<string, string>;

/** The marks of all files of a folder. */
export async function fileMarks(folder: string): Promise<FileMarks> {
  const names = await readdir(folder);
  return new Map(
    await Promise.all(
      names.map(async (name): Promise<[string, string]> => {
        const { ino, size, mtimeNs, ctimeNs } = await stat(join(folder, name), { bigint: true });
        return [name, `${ino} ${size} ${mtimeNs} ${ctimeNs}`];
      }),
    ),
  );
}

/** Makes the files of a folder that are not as they were when all survived a power loss, and the names of all, survive one. */
export async function syncChangedFiles(folder: string, flushed: FileMarks): Promise<void> {
  for (const [name, mark] of await fileMarks(folder)) {
    if (flushed.get(name) === mark) continue;
    const handle = await open(join(folder, name), "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  await syncFolder(folder);
}
