import { type FileHandle, open, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { closing, findTornEdit, findTornTail, makeFolder, syncFolder, type TornTail } from "@cairn/kv";
import { BATCH_ENDING } from "./embedded-rows.ts";

/** The subfolder for bytes that were cut off. LevelDB ignores it, but a copy of the log's folder includes it. */
const ASIDE = "torn";
const MAX_ASIDE_ENTRIES = 10;
/** The size of the smallest stored message, in format 1: type, key with its length, the value's length, and the time. */
const MESSAGE_BYTES = 19;

/**
 * Keeps something below the log's folder `path`: `keep` creates it at the path that it is given. Then removes the oldest
 * entries there. If `keep` fails, nothing of it remains, so that a full disk does not push out what was kept before.
 */
export async function keepAside(
  path: string,
  name: string,
  keep: (aside: string) => Promise<void>,
): Promise<string> {
  const folder = join(path, ASIDE);
  if ((await makeFolder(folder)) !== undefined) await syncFolder(path);
  const aside = join(folder, `${new Date().toISOString().replaceAll(":", "-")}-${name}`);
  await keep(aside);
  await syncFolder(folder);
  // Names begin with the time, so sorting by name sorts by age.
  const names = (await readdir(folder)).toSorted();
  for (const oldest of names.slice(0, Math.max(0, names.length - MAX_ASIDE_ENTRIES))) {
    await rm(join(folder, oldest), { recursive: true });
  }
  return aside;
}

/**
 * Cuts off incomplete writes that a power loss or the end of the process left at the end of the log in `path`, and
 * returns a sentence about each. None of the messages that are cut off was acknowledged: LevelDB writes a batch only
 * after the previous one has been synced, and a batch is acknowledged only after its own sync. What counts as incomplete
 * and what as damage is decided by `findTornTail` and `findTornEdit` (packages/kv/src/files/torn-tail.ts). If
 * `keepsCopies` is true, the removed bytes are kept in files.
 */
export async function cutTorn(path: string, keepsCopies: boolean): Promise<string[]> {
  const sentences: string[] = [];
  for (const find of [() => findTornEdit(path), () => findTornTail(path, BATCH_ENDING)]) {
    const tail = await find();
    if (tail === undefined) continue;
    const bytes = tail.end - tail.start;
    const copy = await cut(path, tail, keepsCopies);
    const held = basename(tail.path).startsWith("MANIFEST")
      ? "They held no message."
      : `They held at most ${Math.floor(bytes / MESSAGE_BYTES)} messages. None of them was acknowledged, unless the disk lost what it had flushed.`;
    sentences.push(
      `${basename(tail.path)} of the log in ${path} ended in ${bytes} bytes of a write that a power loss or the end of the process interrupted. They were cut off. ` +
        `${held}${copy === undefined ? "" : ` A copy was kept in ${copy}.`}`,
    );
  }
  return sentences;
}

export async function isTorn(path: string): Promise<boolean> {
  return (await findTornEdit(path)) !== undefined || (await findTornTail(path, BATCH_ENDING)) !== undefined;
}

async function cut(path: string, tail: TornTail, keepsCopy: boolean): Promise<string | undefined> {
  return await closing(await open(tail.path, "r+"), async (file) => {
    const copy = keepsCopy ? await copyOf(path, tail, file) : undefined;
    await file.truncate(tail.start);
    await file.sync();
    return copy;
  });
}

async function copyOf(path: string, tail: TornTail, file: FileHandle): Promise<string> {
  const content = Buffer.alloc(tail.end - tail.start);
  await file.read(content, 0, content.length, tail.start);
  return await keepAside(path, `${basename(tail.path)}-from-${tail.start}`, async (copy) => {
    await closing(await open(copy, "wx"), async (target) => {
      try {
        await target.writeFile(content);
        await target.sync();
      } catch (error) {
        await rm(copy);
        throw error;
      }
    });
  });
}
