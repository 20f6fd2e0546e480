import { namesIn } from "@cairn/kv";
import type { ResolvedConfig } from "./read-config.ts";

/** Patterns of the file names in the folders of Crux and XTDB, with descriptions of the data. */
const OLDER_FILES: readonly (readonly [RegExp, string])[] = [
  [/^OPTIONS-\d+$/, "a RocksDB database"],
  [/^data\.mdb$/, "an LMDB database"],
  [/^[0-9a-z]+\.xd$/, "a Xodus database"],
  [/^checkpoint-.*\.edn$/, "checkpoints of Crux or XTDB"],
];
/** Files of older indexes. A LevelDB database counts only here: an embedded log of Cairn may have one in its folder. */
const OLDER_INDEX_FILES = [...OLDER_FILES, [/^MANIFEST-\d+$/, "a LevelDB database"]] as const;

/**
 * Reports data of Crux or XTDB in the configured folders: Cairn reads only their configuration, and a node that starts
 * empty next to that data would seem to have lost everything.
 */
export async function tellOlderData(
  { settings }: Pick<ResolvedConfig, "settings">,
  onNotice: (sentence: string) => void,
): Promise<void> {
  for (const { path, value, isPath } of settings) {
    if (isPath !== true || typeof value !== "string") continue;
    const found = await olderFilesIn(value, path.at(-1) === "db-dir" ? OLDER_INDEX_FILES : OLDER_FILES);
    if (found === undefined) continue;
    onNotice(
      `${value} (${path.join(" > ")}) contains ${found}, which Cairn does not read, so its documents are not served. ` +
        "This data is neither changed nor removed. Load the documents with cairn load, and configure a separate folder for this node.",
    );
  }
}

async function olderFilesIn(folder: string, kinds: typeof OLDER_FILES): Promise<string | undefined> {
  let names: string[];
  try {
    names = await namesIn(folder);
  } catch {
    // Problems with the folder are reported by the part that uses it.
    return undefined;
  }
  return kinds.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
}
