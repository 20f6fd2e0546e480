import { join, relative, sep } from "node:path";
import type { Reading, Setting } from "./types/reading.ts";

/** What the node makes, empties and moves away below its db-dir, as it sees fit. */
const OWN_FOLDERS = ["live", "staging", "capture", "quarantine", "rebuild", "lock", "stores"];

/**
 * Adds a problem for every path that lies in a folder which the index has for itself: a log or a store there would be removed
 * when that folder is swept, or go to quarantine with the index.
 */
export function checkIndexFolders(dbDir: string, { settings, problems }: Reading): void {
  for (const { path, value, origin, isPath } of settings) {
    if (isPath !== true || typeof value !== "string") continue;
    const own = OWN_FOLDERS.find((name) => isWithin(value, join(dbDir, name)) && !belongsThere(path, name));
    if (own === undefined) continue;
    problems.add(
      origin,
      path,
      `The index has ${join(dbDir, own)} for itself: the node removes and moves what lies there.`,
      { hint: `Choose a place outside of the index's folder, ${dbDir}.` },
    );
  }
}

/** Captures are made in a folder that is for nothing else. */
function belongsThere(path: Setting["path"], name: string): boolean {
  return name === "capture" && path.at(-1) === "checkpoint-dir";
}

function isWithin(place: string, folder: string): boolean {
  const way = relative(folder, place);
  return way !== ".." && !way.startsWith(`..${sep}`);
}
