import { mkdir, open, readdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CairnError, systemErrorCode } from "../errors/errors.ts";
import { systemErrorOf } from "../errors/system-errors.ts";

/**
 * Creates a folder and its missing parents. Returns the topmost folder created; undefined if all existed. Node's own recursive `mkdir`
 * never ends if a file system reports ENOENT below an existing folder, as /proc does: here that is `CONFIG_INVALID`.
 */
export async function makeFolder(dir: string): Promise<string | undefined> {
  const missing: string[] = [];
  let at = dir;
  let result = await make(at);
  while (result === "no parent") {
    missing.unshift(at);
    if (dirname(at) === at) throw refused(dir, at);
    at = dirname(at);
    result = await make(at);
  }
  for (const folder of missing) {
    if ((await make(folder)) === "no parent") throw refused(dir, folder);
  }
  return result === "made" ? at : missing[0];
}

async function make(folder: string): Promise<"made" | "exists" | "no parent"> {
  try {
    await mkdir(folder);
    return "made";
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return "no parent";
    // An existing folder may be refused with any code, for example on a read-only file system.
    if (await isFolder(folder, error)) return "exists";
    throw error;
  }
}

/** Returns whether there is a folder at `path`, for which `mkdir` failed with `refusal`. */
async function isFolder(path: string, refusal: unknown): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    // Something exists at the path that could not be examined just now.
    if (systemErrorCode(refusal) === "EEXIST" && systemErrorOf(error) !== undefined) throw error;
    // Otherwise the error from `mkdir` says more.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
}

function refused(dir: string, folder: string): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `The folder ${dir} cannot be created: nothing can be created at ${folder}.`,
    {
      hint: "Its file system does not accept new folders, or a parent folder was removed in the meantime; configure another folder.",
    },
  );
}

/** Returns the names of everything in a folder; empty if the folder does not exist. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** Errors of file systems that cannot flush a folder; on these, flushing the file is enough. */
const NO_FOLDER_SYNC = new Set(["EINVAL", "ENOTSUP", "EISDIR", "EPERM"]);

/** Flushes a folder, so that the names in it survive a power loss. */
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

/** Flushes a file, so that its content survives a power loss. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Errors of link(2): no hard links on this file system, none across file systems, none allowed, or too many to one file. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"]);

/** Returns whether a hard link failed because it is not possible here, so that the caller should copy instead. */
export function isLinkRefusal(error: unknown): boolean {
  return NO_LINKS.has(systemErrorCode(error) ?? "");
}
