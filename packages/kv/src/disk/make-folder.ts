import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CairnError, systemErrorCode } from "../errors/errors.ts";
import { systemErrorOf } from "../errors/system-errors.ts";

/**
 * Makes a folder and what is missing above it; answers the topmost one that it made, undefined where all was there. Node's own recursive
 * `mkdir` never ends where a file system answers ENOENT below a folder that is there, as /proc does: here that is `CONFIG_INVALID`.
 */
export async function makeFolder(dir: string): Promise<string | undefined> {
  const missing: string[] = [];
  let at = dir;
  let found = await make(at);
  while (found === "nothing above") {
    missing.unshift(at);
    if (dirname(at) === at) throw refused(dir, at);
    at = dirname(at);
    found = await make(at);
  }
  for (const folder of missing) {
    if ((await make(folder)) === "nothing above") throw refused(dir, folder);
  }
  return found === "made" ? at : missing[0];
}

async function make(folder: string): Promise<"made" | "there" | "nothing above"> {
  try {
    await mkdir(folder);
    return "made";
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return "nothing above";
    // A folder that is there may be refused with any code, on a read-only file system for example.
    if (await isFolder(folder, error)) return "there";
    throw error;
  }
}

/** Whether there is a folder at `path`, where making one was refused with `refusal`. */
async function isFolder(path: string, refusal: unknown): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    // Something is there, and could not be looked at just now.
    if (systemErrorCode(refusal) === "EEXIST" && systemErrorOf(error) !== undefined) throw error;
    // What making it was refused with says more.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
}

function refused(dir: string, folder: string): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `The folder ${dir} cannot be made: nothing can be made at ${folder}.`,
    {
      hint: "Its file system takes no new folders, or what is above it was removed meanwhile; name another folder.",
    },
  );
}
