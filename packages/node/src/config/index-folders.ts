import { relative, sep } from "node:path";
import { dbDirLayout } from "../db-dir/layout.ts";
import type { Reading } from "./types/reading.ts";

/**
 * Adds a problem for every path that lies in a folder which the index has for itself: a log or a store there would be removed
 * when that folder is swept, or go to quarantine with the index.
 */
export function checkIndexFolders(dbDir: string, { settings, problems }: Reading): void {
  const { capture, ...others } = dbDirLayout(dbDir);
  const own = Object.values(others);
  for (const { path, value, origin, isPath } of settings) {
    if (isPath !== true || typeof value !== "string") continue;
    // Captures are made in a folder that serves no other purpose.
    const reserved = path.at(-1) === "checkpoint-dir" ? own : [...own, capture];
    const taken = reserved.find((folder) => isWithin(value, folder));
    if (taken === undefined) continue;
    problems.add(
      origin,
      path,
      `The index has ${taken} for itself: the node removes and moves what lies there.`,
      { hint: `Choose a place outside of the index's folder, ${dbDir}.` },
    );
  }
}

function isWithin(place: string, folder: string): boolean {
  const way = relative(folder, place);
  return way !== ".." && !way.startsWith(`..${sep}`);
}
