import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder, syncFile, syncFolder, systemErrorCode } from "@cairn/kv";
import { asidePath } from "./set-aside.ts";

/**
 * Lies in a log's folder from before its first file until all of them would survive a power loss, and nothing is answered before: where
 * it lies, no message was ever stored, whatever else lies there. (A new LevelDB names its first manifest before that is on the disk.)
 */
const MARK = "being-made";

/** Whether in the folder that holds `names` a log was being made when the power went or the process died, or is at this instant. */
export function isBeingMade(names: readonly string[]): boolean {
  return names.includes(MARK);
}

/**
 * Makes the folder and those above it such that they survive a power loss. Also those that are there: who made them may have been killed
 * before it could flush their names.
 */
export async function makeDurably(path: string): Promise<void> {
  await makeFolder(path);
  for (let folder = path; dirname(folder) !== folder; folder = dirname(folder)) {
    try {
      await syncFolder(dirname(folder));
    } catch (error) {
      // A folder that this user may not read was not made by it.
      if (systemErrorCode(error) === "EACCES") return;
      throw error;
    }
  }
}

/** Begins to make a log in a folder that has none; answers where the files of an earlier try lie now, if there was one. */
export async function beginCreation(path: string): Promise<string | undefined> {
  const names = await readdir(path);
  const left = isBeingMade(names)
    ? names.filter((name) => /^(CURRENT|LOG.*|MANIFEST-.*|.*\.(log|ldb|sst|dbtmp))$/.test(name))
    : [];
  let aside: string | undefined;
  if (left.length > 0) {
    aside = await asidePath(path, "begun");
    await mkdir(aside);
    for (const name of left) await rename(join(path, name), join(aside, name));
  }
  const mark = await open(join(path, MARK), "w");
  try {
    await mark.sync();
  } finally {
    await mark.close();
  }
  await syncFolder(path);
  return aside;
}

/** Ends making it, once its first messages are stored: from now on its files count. */
export async function endCreation(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    if (/^(CURRENT|MANIFEST-.*|.*\.log)$/.test(name)) await syncFile(join(path, name));
  }
  await syncFolder(path);
  await rm(join(path, MARK), { force: true });
  await syncFolder(path);
}
