import { readdir, stat } from "node:fs/promises";
import { parseCheckpointName } from "@cairn/checkpoint";
import { CairnError, indexCorrupt, systemErrorCode } from "@cairn/kv";
import { dbDirLayout } from "@cairn/engine";
import { bucketProblem } from "@cairn/text";
import { folderPath, nameInPath } from "../places/checkpoint-place.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The kind of database at a path on the command line. `dir` is the folder of its LevelDB files. */
export type DbPlace =
  | { readonly kind: "db-dir" | "LevelDB"; readonly dir: string }
  | { readonly kind: "checkpoint" };

/**
 * Returns the database's path (undefined if the first argument is a bucket) and the arguments after it; throws for too
 * few or too many. An argument that could be a path or a bucket is a bucket only if a configuration is given.
 */
export function placeFirst(
  given: readonly string[],
  names: readonly string[],
  required: number,
  options: ConfigurationOptions,
): readonly (string | undefined)[] {
  const [first] = given;
  const isBucket = first !== undefined && bucketProblem(first) === undefined;
  const isShort = given.length === names.length && (given.length <= required || isConfigured(options));
  const all = isBucket && isShort ? [undefined, ...given] : given;
  const count = Math.max(0, all.length - 1);
  if (count < required) throw new UsageError(`Missing required argument '${names[count]}'.`);
  if (count > names.length) {
    throw new UsageError(`Too many arguments: expected PLACE and ${names.join(", ")} at most.`);
  }
  return all;
}

/** Returns whether `place` is a db-dir, a LevelDB, or a checkpoint or a place with some. Else throws `NOT_FOUND`. */
export async function findDbPlace(place: string, terminal: Terminal): Promise<DbPlace> {
  if (place.startsWith("s3:")) return { kind: "checkpoint" };
  const path = folderPath(place, terminal);
  if (nameInPath(path) !== undefined) return { kind: "checkpoint" };
  const names = (await namesIn(path)) ?? [];
  if (names.includes("CURRENT")) return { kind: "LevelDB", dir: path };
  const { live } = dbDirLayout(path);
  if ((await namesIn(live))?.includes("CURRENT") === true) return { kind: "db-dir", dir: live };
  const isStore = names.some((name) => name.endsWith(".json") && parseCheckpointName(name.slice(0, -5)));
  if (isStore) return { kind: "checkpoint" };
  if (names.some((name) => /^MANIFEST-\d+$|\.ldb$/.test(name))) {
    throw indexCorrupt(`The database in ${path} lacks its file CURRENT.`);
  }
  throw new CairnError(
    "NOT_FOUND",
    `There is neither an index nor a checkpoint in ${path}.`,
    "Check the path. Name a db-dir (NODE-index in a node's folder; cairn status shows whether it has an index yet), the folder of a LevelDB, a checkpoint, a folder with checkpoints, or s3://bucket/prefix.",
  );
}

async function namesIn(path: string): Promise<readonly string[] | undefined> {
  try {
    return (await stat(path)).isDirectory() ? await readdir(path) : undefined;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code !== "EACCES") throw error;
    throw new CairnError("CONFIG_INVALID", `This user is not allowed to read ${path}.`, {
      hint: "Run the command as the user that runs the node.",
      cause: error,
    });
  }
}
