import { lstat, stat } from "node:fs/promises";
import path from "node:path";
import { CairnError, namesIn } from "@cairn/kv";

/**
 * Refuses a db-dir of which one of these folders is a link or a volume of its own. They change places by renaming: a link would take
 * along nothing but its name, and a volume could not be moved at all, just when a damaged index has to make room.
 */
export async function requireOneFileSystem(dbDir: string, folders: readonly string[]): Promise<void> {
  const { dev } = await stat(dbDir);
  for (const name of await namesIn(dbDir)) {
    if (!folders.includes(name)) continue;
    const found = await lstat(path.join(dbDir, name));
    const isLink = found.isSymbolicLink();
    if (found.dev === dev && !isLink) continue;
    const what = isLink ? "a symbolic link" : "a volume of its own";
    throw new CairnError("CONFIG_INVALID", `${path.join(dbDir, name)} is ${what}.`, {
      hint: `The node moves folders within ${dbDir} by renaming them: mount or link that folder as a whole, or name another db-dir.`,
    });
  }
}
