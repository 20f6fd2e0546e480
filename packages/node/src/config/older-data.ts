import { namesIn } from "@cairn/kv";
import type { ResolvedConfig } from "./read-config.ts";

/** Files that Crux's and XTDB's stores leave in a folder, and what they are. */
const LEFT_BEHIND: readonly (readonly [RegExp, string])[] = [
  [/^OPTIONS-\d+$/, "a RocksDB database"],
  [/^data\.mdb$/, "an LMDB database"],
  [/^[0-9a-z]+\.xd$/, "a Xodus database"],
  [/^checkpoint-.*\.edn$/, "checkpoints of Crux or XTDB"],
];
/** Cairn's own lies a folder deeper; that of an embedded log does not. */
const OF_AN_INDEX = [...LEFT_BEHIND, [/^MANIFEST-\d+$/, "a LevelDB database"]] as const;

/**
 * Tells what of Crux or XTDB lies in the folders that a configuration names: its configuration is understood, its data is not, and a node
 * that starts empty beside it would be taken for one that lost everything.
 */
export async function tellOlderData(
  { settings }: Pick<ResolvedConfig, "settings">,
  onNotice: (sentence: string) => void,
): Promise<void> {
  for (const { path, value, isPath } of settings) {
    if (isPath !== true || typeof value !== "string") continue;
    const found = await leftBehind(value, path.at(-1) === "db-dir" ? OF_AN_INDEX : LEFT_BEHIND);
    if (found === undefined) continue;
    onNotice(
      `${value} (${path.join(" > ")}) holds ${found}, which Cairn does not read: its documents are not served. ` +
        "Nothing of it is changed or removed. Take the documents over with cairn load, and give this node a folder of its own.",
    );
  }
}

async function leftBehind(folder: string, kinds: typeof LEFT_BEHIND): Promise<string | undefined> {
  let names: string[];
  try {
    names = await namesIn(folder);
  } catch {
    // Whoever uses the folder says what is wrong with it.
    return undefined;
  }
  return kinds.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
}
