import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type CairnError, indexCorrupt, systemErrorCode, unlessFailed } from "../errors/errors.ts";
import { inParallel } from "../concurrency/in-parallel.ts";
import { namesIn } from "../disk/folders.ts";
import type { KvStats } from "../store/kv-store.ts";

/** Write-ahead logs, and tables. Only very old versions of LevelDB gave tables another extension. */
type Extension = "log" | "ldb";

/** Returns the name of a numbered LevelDB file, with at least six digits. */
export function levelFileName(number: number, extension: Extension): string {
  return `${String(number).padStart(6, "0")}.${extension}`;
}

/** Returns the numbers of the files with this extension, ascending. */
export function levelFileNumbers(names: readonly string[], extension: Extension): number[] {
  const numbers: number[] = [];
  for (const name of names) {
    const digits = name.endsWith(`.${extension}`) ? name.slice(0, -extension.length - 1) : "";
    if (/^\d+$/.test(digits)) numbers.push(Number(digits));
  }
  return numbers.toSorted((a, b) => a - b);
}

/**
 * The files that LevelDB creates before CURRENT, which turns them into a database. If the process ends before it
 * creates CURRENT, only these files exist. If CURRENT is lost later, there are also files with higher numbers.
 */
const UNFINISHED = new Set(["LOCK", "LOG", "LOG.old", "MANIFEST-000001", "000001.dbtmp"]);

/** False if `dir` does not exist or is practically empty. Throws `INDEX_CORRUPT` for any other content. */
export async function holdsLevelDb(dir: string): Promise<boolean> {
  const names = await namesInDirectory(dir);
  if (names.includes("CURRENT")) return true;
  const foreign = names.find((name) => !UNFINISHED.has(name));
  if (foreign === undefined) return false;
  throw notAnIndex(`${dir} contains files such as ${foreign}, but no index.`);
}

async function namesInDirectory(dir: string): Promise<string[]> {
  try {
    return await namesIn(dir);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOTDIR") throw error;
    throw notAnIndex(`${dir} is a file, not the directory of an index.`, error);
  }
}

function notAnIndex(message: string, cause?: unknown): CairnError {
  const hint = "Specify an empty directory, or one that contains an index. Nothing there was changed.";
  return indexCorrupt(message, cause, hint);
}

/** Counts the files of `dir` and their bytes, except files that vanish in the meantime. */
export async function measureFiles(dir: string): Promise<KvStats> {
  let bytes = 0;
  let files = 0;
  await inParallel(await namesInDirectory(dir), 4, async (name) => {
    const file = await unlessFailed(stat(join(dir, name)), "ENOENT", undefined);
    bytes += file?.size ?? 0;
    if (file !== undefined) files += 1;
  });
  return { bytes, files };
}
