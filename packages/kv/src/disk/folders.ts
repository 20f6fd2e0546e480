import { cp, lstat, mkdir, open, readdir, rename, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CairnError, isCairnError, systemErrorCode, unlessFailed } from "../errors/errors.ts";
import { diskError, systemErrorOf } from "../errors/system-errors.ts";
import { closing } from "../concurrency/closing.ts";

/**
 * Creates a folder and its missing parents. Returns the topmost folder that it created; undefined if all existed. In
 * Node, a recursive `mkdir` never ends if a file system reports ENOENT below an existing folder, as /proc does. This
 * function throws `CONFIG_INVALID` instead.
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
    // For an existing folder, the error may have any code, for example on a read-only file system.
    if (await isFolder(folder, error)) return "exists";
    throw error;
  }
}

/** Returns whether `path`, for which `mkdir` failed with `refusal`, is a folder. */
async function isFolder(path: string, refusal: unknown): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    // Something exists at the path, but it could not be examined.
    if (systemErrorCode(refusal) === "EEXIST" && systemErrorOf(error) !== undefined) throw error;
    // Otherwise the error from `mkdir` is more informative.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
}

function refused(dir: string, folder: string): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `The folder ${dir} cannot be created: nothing can be created at ${folder}.`,
    "Configure another folder: the file system does not accept new folders, or a parent folder was removed in the meantime.",
  );
}

/** Creates a folder for temporary files, which others cannot read. Throws `CONFIG_INVALID` or `DISK_FULL`. */
export async function makeTemporaryFolder(folder: string): Promise<void> {
  const parent = dirname(folder);
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const isMissing = systemErrorCode(error) === "ENOENT";
    const explained = isMissing ? undefined : diskError(error, `for temporary files ${parent}`);
    if (explained !== undefined && !isCairnError(explained, "CONFIG_INVALID")) throw explained;
    // Some file systems, such as /proc, return ENOENT for every folder that is to be created.
    const [what, cure] = (await isFolder(parent, error))
      ? ["accepts no new folders", "Name another one"]
      : ["does not exist", "Create the folder, or name another one"];
    const message = explained?.message ?? `The folder for temporary files ${parent} ${what}.`;
    throw new CairnError("CONFIG_INVALID", message, {
      hint: `${cure}: the variable TMPDIR names the system's, and --staging that of a command.`,
      cause: error,
    });
  }
}

/** Returns the names of all entries of a folder; none if the folder does not exist. */
export async function namesIn(folder: string): Promise<string[]> {
  return await unlessFailed(readdir(folder), "ENOENT", []);
}

/**
 * Removes a folder with everything in it, without following links; does nothing if it does not exist. The entries are
 * removed one after another. Node's recursive `rm` queues the removal of all of them. Since removing a large file takes
 * about a millisecond, the batches of an open database, which use the same four threads, would wait until all of them
 * are removed.
 */
export async function removeFolder(folder: string): Promise<void> {
  await unlessFailed(removeExisting(folder), "ENOENT", undefined);
}

async function removeExisting(folder: string): Promise<void> {
  if (!(await lstat(folder)).isDirectory()) return await unlink(folder);
  await removeEntries(folder);
  // If a file was created in the meantime, for example by a write that had been hanging, it is removed, too.
  if ((await unlessFailed(rmdir(folder), "ENOTEMPTY", "filled")) !== "filled") return;
  await removeEntries(folder);
  await rmdir(folder);
}

async function removeEntries(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await removeFolder(join(folder, name));
}

/**
 * Moves a folder, as a rename does: at `to`, it is complete or missing. In a container, a folder of the image cannot be
 * renamed, because overlayfs has it in a lower layer; it is copied, and then removed.
 */
export async function moveFolder(from: string, to: string): Promise<void> {
  if ((await unlessFailed(rename(from, to), "EXDEV", "lower layer")) !== "lower layer") return;
  const copy = `${to}.part`;
  await cp(from, copy, { recursive: true });
  for (const name of await readdir(copy)) await syncFile(join(copy, name));
  await syncFolder(copy);
  await rename(copy, to);
  await syncFolder(dirname(to));
  await removeFolder(from);
}

/** The errors of file systems that cannot flush a folder. On these file systems, it suffices to flush the file. */
const NO_FOLDER_SYNC = ["EINVAL", "ENOTSUP", "EISDIR", "EPERM"] as const;

/** Flushes a folder, which makes the names in it durable. */
export async function syncFolder(folder: string): Promise<void> {
  await closing(await open(folder, "r"), (handle) => unlessFailed(handle.sync(), NO_FOLDER_SYNC, undefined));
}

/** Flushes a file, which makes its content durable. */
export async function syncFile(path: string): Promise<void> {
  await closing(await open(path, "r"), (handle) => handle.sync());
}

/**
 * Errors of link(2): hard links are not supported by this file system, not possible across file systems, or not
 * permitted, or the file has too many of them.
 */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"]);

/** Returns whether a hard link failed because it is not possible here. If so, the caller should copy the file. */
export function isLinkRefusal(error: unknown): boolean {
  return NO_LINKS.has(systemErrorCode(error) ?? "");
}
