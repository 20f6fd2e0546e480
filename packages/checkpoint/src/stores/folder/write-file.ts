import { randomBytes } from "node:crypto";
import { chmod, type FileHandle, link, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isLinkRefusal, makeFolder, syncFolder, systemErrorCode, unlessFailed } from "@cairn/kv";
import { TEMPORARY_PREFIX } from "../../store/stored-files.ts";
import { statOf } from "./folder-files.ts";

/** A file that is being written under a name that is never listed. */
export interface TemporaryFile {
  readonly path: string;
  readonly handle: FileHandle;
}

export async function createTemporary(folder: string): Promise<TemporaryFile> {
  const path = join(folder, TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
  let handle = await unlessFailed(open(path, "wx"), "ENOENT", undefined);
  if (handle === undefined) {
    await makeShared(folder);
    handle = await open(path, "wx");
  }
  const mode = await modeOfGroup(folder);
  if (mode !== undefined) await handle.chmod(mode & 0o666);
  return { path, handle };
}

/** Creates a folder of the store and its missing parents, durably. */
export async function makeShared(folder: string): Promise<void> {
  const made = await makeFolder(folder);
  if (made === undefined) return;
  const mode = await modeOfGroup(dirname(made));
  if (mode !== undefined) for (let at = folder; at !== dirname(made); at = dirname(at)) await chmod(at, mode);
  await syncFolder(dirname(made));
}

/**
 * Returns the mode of a folder that its group may write. What is created in it gets the same one whatever the umask,
 * because the nodes that share the store may run under several users. A sticky folder, such as /tmp, belongs to
 * everybody, which says nothing about who may write a store in it.
 */
async function modeOfGroup(folder: string): Promise<number | undefined> {
  const { mode } = await stat(folder);
  return (mode & 0o1020) === 0o020 ? mode & 0o7777 : undefined;
}

export async function discard(file: TemporaryFile): Promise<void> {
  await file.handle.close();
  await rm(file.path, { force: true });
}

/** Removes temporary files that have not been written to since `before`, which means that their writers have died. */
export async function removeDeadTemporaries(root: string, before: number): Promise<void> {
  for (const entry of await readdir(root, { withFileTypes: true })) {
    const { name } = entry;
    // Folders and links with such names are foreign.
    if (!name.startsWith(TEMPORARY_PREFIX) || !entry.isFile()) continue;
    const file = await statOf(join(root, name));
    if (file === undefined || file.mtimeMs >= before) continue;
    // Those of another user can stay.
    await unlessFailed(rm(join(root, name), { force: true }), ["EACCES", "EPERM"], undefined);
  }
}

export async function fill(file: TemporaryFile, text: string): Promise<void> {
  try {
    await file.handle.writeFile(text);
  } catch (error) {
    await discard(file);
    throw error;
  }
}

/**
 * Gives a temporary file the name `target`, and removes it in any case; `done` is false if the name exists. `atomic` is
 * false if several concurrent writers may have succeeded. Flushed only if `durable`.
 */
export async function publishNew(
  file: TemporaryFile,
  target: string,
  durable: boolean,
): Promise<{ readonly done: boolean; readonly atomic: boolean }> {
  let outcome: { done: boolean; atomic: boolean };
  try {
    // The content is flushed before the name, because after a power loss a name must not lead to an incomplete file.
    if (durable) await file.handle.sync();
    outcome = await nameFile(file, target);
  } finally {
    await discard(file);
  }
  if (durable) await syncFolder(dirname(target));
  return outcome;
}

async function nameFile(file: TemporaryFile, target: string): Promise<{ done: boolean; atomic: boolean }> {
  try {
    // A rename would overwrite the file. If several processes link to one name, only the first succeeds.
    await link(file.path, target);
    return { done: true, atomic: true };
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") {
      // A network file system repeats a link operation whose response was lost, and may then find its own link. In that
      // case, the file has two names.
      return { done: (await file.handle.stat()).nlink > 1, atomic: true };
    }
    if (!isLinkRefusal(error)) throw error;
    const done = (await statOf(target)) === undefined;
    if (done) await rename(file.path, target);
    return { done, atomic: false };
  }
}

/** The age of a claim (ms) at which its process must have died. Claims are normally held for milliseconds. */
const STALE_AFTER_MS = 5_000;

/**
 * Gives `file` the name `target` if the content there still has `tag`. File systems cannot compare and replace in one
 * step, so only the process that creates the claim file for this exact content may replace it. Returns false, without
 * waiting, if the content differs or another process holds the claim. The temporary file is removed in any case.
 */
export async function replaceIfUnchanged(
  root: string,
  file: TemporaryFile,
  target: string,
  tag: string,
  currentTag: () => Promise<string | undefined>,
): Promise<boolean> {
  // Named after the content to be replaced, so that a process that replaces other content does not wait.
  const claim = join(root, `${TEMPORARY_PREFIX}claim-${basename(target)}-${tag.slice(0, 16)}`);
  try {
    // Flushed before the claim is taken, because a process that dies while it holds the claim delays the others.
    await file.handle.sync();
    // Both times come from the file system, because this machine's clock may differ.
    if (!(await take(claim, (await file.handle.stat()).mtimeMs))) return false;
    try {
      // Compared after the claim is taken, because an earlier holder may have changed the content.
      if ((await currentTag()) !== tag) return false;
      await rename(file.path, target);
    } finally {
      await rm(claim, { force: true });
    }
  } finally {
    await discard(file);
  }
  await syncFolder(dirname(target));
  return true;
}

async function take(claim: string, now: number): Promise<boolean> {
  if (await make(claim)) return true;
  const held = await statOf(claim);
  if (held === undefined || now - held.mtimeMs <= STALE_AFTER_MS) return false;
  await rm(claim, { force: true });
  return make(claim);
}

async function make(claim: string): Promise<boolean> {
  const handle = await unlessFailed(open(claim, "wx"), "EEXIST", undefined);
  await handle?.close();
  return handle !== undefined;
}
