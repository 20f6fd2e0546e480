import { open, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { findTornTail, makeFolder, syncFolder } from "@cairn/kv";
import { BATCH_ENDING } from "./embedded-batch.ts";

/** What was cut off lies here, in the log's folder: LevelDB leaves other names alone, and a copy of the folder has it, too. */
const ASIDE = "torn";
/** Newest entries of it that stay. */
const KEPT_ASIDE = 10;
/** What a message takes at least: the type, the key with its length, the length of the value and its time. */
const MESSAGE_BYTES = 19;

/** The folder in `path` for what is cut off, with room for one more entry. */
export async function asideFolder(path: string): Promise<string> {
  const folder = join(path, ASIDE);
  if ((await makeFolder(folder)) !== undefined) await syncFolder(path);
  // Names begin with the time, so name order is age.
  const names = (await readdir(folder)).toSorted();
  for (const name of names.slice(0, Math.max(0, names.length + 1 - KEPT_ASIDE))) {
    await rm(join(folder, name), { recursive: true });
  }
  return folder;
}

/**
 * Cuts off the batch that was being written to the log in `path` when the power went or the process died; answers a sentence about it,
 * or undefined where there is none. Nobody was answered that its messages are stored: LevelDB writes a batch after the one before was
 * synced, and the answer comes after its own was. `keepsCopy`: what is cut off is kept in a file.
 */
export async function cutTornTail(path: string, keepsCopy: boolean): Promise<string | undefined> {
  const tail = await findTornTail(path, BATCH_ENDING);
  if (tail === undefined) return undefined;
  const bytes = tail.end - tail.start;
  const log = await open(tail.path, "r+");
  let copy: string | undefined;
  try {
    if (keepsCopy) {
      const content = Buffer.alloc(bytes);
      await log.read(content, 0, bytes, tail.start);
      const stamp = new Date().toISOString().replaceAll(":", "-");
      const folder = await asideFolder(path);
      copy = join(folder, `${stamp}-${basename(tail.path)}-from-${tail.start}`);
      const file = await open(copy, "wx");
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      await syncFolder(folder);
    }
    await log.truncate(tail.start);
    await log.sync();
  } finally {
    await log.close();
  }
  const most = Math.floor(bytes / MESSAGE_BYTES);
  return (
    `The log in ${path} ended in ${bytes} bytes that were being written when the power went or the process was killed. They were cut off. ` +
    `They held at most ${most} messages, of which none had been answered.${copy === undefined ? "" : ` A copy is ${copy}.`}`
  );
}
