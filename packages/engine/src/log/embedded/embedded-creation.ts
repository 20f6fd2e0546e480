import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { closing, makeFolder, syncFile, syncFolder, systemErrorCode } from "@cairn/kv";
import { keepAside } from "./cut-torn-writes.ts";

/**
 * A marker file that is created before a log's first file and removed once all files are durable. No append is
 * acknowledged while it exists, so a folder with this file holds no messages, whatever else it contains. (While LevelDB
 * creates a database, CURRENT may reach the disk before the manifest that it names.)
 */
const MARK = "being-made";

/** Returns whether a folder with these file names holds a log whose creation was interrupted or is still in progress. */
export function isBeingMade(names: readonly string[]): boolean {
  return names.includes(MARK);
}

/** Flushes existing parents too, because their creator may have been killed before it flushed them. */
export async function makeDurably(path: string): Promise<void> {
  await makeFolder(path);
  for (let folder = path; dirname(folder) !== folder; folder = dirname(folder)) {
    try {
      await syncFolder(dirname(folder));
    } catch (error) {
      // This user cannot read the folder and therefore did not create it.
      if (systemErrorCode(error) === "EACCES") return;
      throw error;
    }
  }
}

/** Begins to create a log. If an earlier creation was interrupted, moves its files aside and returns their new path. */
export async function beginCreation(path: string): Promise<string | undefined> {
  const names = await readdir(path);
  const left = isBeingMade(names)
    ? names.filter((name) => /^(CURRENT|LOG.*|MANIFEST-.*|.*\.(log|ldb|dbtmp))$/.test(name))
    : [];
  let aside: string | undefined;
  if (left.length > 0) {
    aside = await keepAside(path, "begun", async (folder) => {
      await mkdir(folder);
      for (const name of left) await rename(join(path, name), join(folder, name));
    });
  }
  await closing(await open(join(path, MARK), "w"), async (mark) => await mark.sync());
  await syncFolder(path);
  return aside;
}

/** Ends the creation after the birth record has been stored. From then on, the folder holds a log. */
export async function endCreation(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    if (/^(CURRENT|MANIFEST-.*|.*\.log)$/.test(name)) await syncFile(join(path, name));
  }
  await syncFolder(path);
  await rm(join(path, MARK), { force: true });
  await syncFolder(path);
}
