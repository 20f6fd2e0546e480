import { randomBytes } from "node:crypto";
import { link, open, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder, systemErrorCode, syncFolder } from "@cairn/kv";
import { TEMPORARY_PREFIX } from "../../store/store-names.ts";

/** What file systems without hard links answer to a link. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);
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
