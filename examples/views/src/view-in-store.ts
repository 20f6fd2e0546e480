import { createReadStream, createWriteStream } from "node:fs";
import { access, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { CheckpointStore } from "@cairn/checkpoint";
import { openDatabase } from "./sqlite.ts";

const FOLDER = "notes-view";

/** Saves a view in the checkpoint store, so that a new node neither lists nor replays to have it. */
export async function saveView(store: CheckpointStore, file: string): Promise<void> {
  const copy = `${file}.copy`;
  await rm(copy, { force: true });
  const db = await openDatabase(file);
  db.prepare("vacuum into ?").run(copy);
  const { tx } = db.prepare("select tx from place").get() as { tx: number };
  db.close();
  await store.upload(`${FOLDER}/${String(tx).padStart(16, "0")}.sqlite`, createReadStream(copy));
  await rm(copy);
}

/** Restores the newest saved view, unless there is one already. Returns its name; undefined if none was restored. */
export async function restoreView(store: CheckpointStore, file: string): Promise<string | undefined> {
  const isThere = await access(file).then(
    () => true,
    () => false,
  );
  const newest = isThere ? undefined : (await store.list(`${FOLDER}/`)).at(-1);
  if (newest === undefined) return undefined;
  await pipeline(await store.open(newest.name), createWriteStream(file));
  return newest.name;
}
