import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, systemErrorCode } from "../errors/errors.ts";
import { inParallel } from "../concurrency/in-parallel.ts";
import type { KvStats } from "../store/kv-store.ts";

/** The name of a numbered LevelDB file: at least six digits. */
export function levelFileName(number: number, extension: "log" | "ldb" | "sst"): string {
  return `${String(number).padStart(6, "0")}.${extension}`;
}

/** The numbers of the files with that extension, ascending. */
export function levelFileNumbers(names: readonly string[], extension: "log" | "ldb" | "sst"): number[] {
  const numbers: number[] = [];
  for (const name of names) {
    const digits = name.endsWith(`.${extension}`) ? name.slice(0, -extension.length - 1) : "";
    if (/^\d+$/.test(digits)) numbers.push(Number(digits));
  }
  return numbers.toSorted((a, b) => a - b);
}

/**
 * What LevelDB has made in a directory before a new database is one, that is before CURRENT: left there when the
 * process ends just then. Any later loss of CURRENT leaves files with higher numbers too.
 */
const UNFINISHED = new Set(["LOCK", "LOG", "LOG.old", "MANIFEST-000001", "000001.dbtmp"]);

/** Whether `dir` holds a LevelDB. False: it is missing or as good as empty. `INDEX_CORRUPT`: it holds something else. */
export async function holdsLevelDb(dir: string): Promise<boolean> {
  const names = await listOrNone(dir);
  if (names.includes("CURRENT")) return true;
  const foreign = names.find((name) => !UNFINISHED.has(name));
  if (foreign === undefined) return false;
  throw new CairnError("INDEX_CORRUPT", `${dir} holds files such as ${foreign}, but no index.`, {
    hint: "Name an empty directory, or one with an index in it; nothing there was changed.",
  });
}

async function listOrNone(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    if (systemErrorCode(error) !== "ENOTDIR") throw error;
    throw new CairnError("INDEX_CORRUPT", `${dir} is a file, not the directory of an index.`, {
      hint: "Name an empty directory, or one with an index in it.",
      cause: error,
    });
  }
}

/** The files of `dir` and their sizes; files that vanish meanwhile do not count. */
export async function measureFiles(dir: string): Promise<KvStats> {
  let bytes = 0;
  let files = 0;
  await inParallel(await listOrNone(dir), 4, async (name) => {
    try {
      const { size } = await stat(join(dir, name));
      bytes += size;
      files += 1;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
    }
  });
  return { bytes, files };
}
