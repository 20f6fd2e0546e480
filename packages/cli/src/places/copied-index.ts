import path from "node:path";
import { type CopiedIndex, dbDirLayout, fileReader, openIndex, type System } from "@cairn/engine";
import { captureLevelDb, diskError, isCairnError, LEVEL_FORMAT, namesIn } from "@cairn/kv";
import type { CommandRun } from "../options/command.ts";
import { workFolder } from "./staging-folder.ts";

/** A copy of the configured node's index, or a clause that says why it could not be read. */
export interface IndexCopy {
  readonly copy?: CopiedIndex | undefined;
  readonly unread?: string;
}

export async function copyNodeIndex(run: CommandRun, system: System): Promise<IndexCopy> {
  const { dbDir, kvProvider } = system;
  return kvProvider.persistent && kvProvider.format === LEVEL_FORMAT
    ? await copyFrom(run, system, dbDir)
    : {};
}

export async function copyFrom(run: CommandRun, system: System, place: string): Promise<IndexCopy> {
  try {
    const folder = await indexFolder(place);
    return folder === undefined ? {} : { copy: await copyIndex(run, system, folder) };
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return { unread: `it is unknown what the index in ${place} holds (${error.code}: ${error.message})` };
  }
}

/** Returns the folder of the LevelDB files, if `folder` is one or the `db-dir` of a node. */
export async function indexFolder(folder: string): Promise<string | undefined> {
  for (const one of [folder, dbDirLayout(folder).live])
    if ((await namesIn(one)).includes("CURRENT")) return one;
  return undefined;
}

/** Copies an index, which its node may have open, and checks its tables. Returns undefined for an empty one. */
export async function copyIndex(
  run: CommandRun,
  system: System,
  folder: string,
): Promise<CopiedIndex | undefined> {
  // Next to the index, its tables are linked rather than copied.
  const dir = path.join(await workFolder(run, path.dirname(system.dbDir), "recover"), "index");
  try {
    await captureLevelDb(folder, dir);
    const { kv, state } = await openIndex(fileReader(system.kvProvider), dir);
    await kv.close();
    return state && { place: folder, dir, state };
  } catch (error) {
    throw diskError(error, folder);
  }
}
