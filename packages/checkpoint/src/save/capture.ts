import { createHash, randomBytes } from "node:crypto";
import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { diskError, makeFolder, removeFolder, systemErrorCode } from "@cairn/kv";
import { packDirectory } from "../archive/pack/pack.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CapturedState } from "../store/checkpoint.ts";

/** A local copy of the index, to be uploaded to the store. */
export interface Capture {
  readonly dir: string;
  /** The state of the index, as read from the copy. */
  readonly state: CapturedState;
  /** Removes the copy. Otherwise, its links would occupy space that the index has freed. */
  drop(): Promise<void>;
}

/** Captures the index into a new folder of `owner` below `checkpointDir`; removes the folder after a failure. */
export async function captureTo(
  checkpointDir: string,
  source: CheckpointSource,
  owner = source.node,
  others: readonly number[] = [],
): Promise<Capture> {
  const dir = join(checkpointDir, prefixOf(owner) + randomBytes(4).toString("hex"));
  const drop = (): Promise<void> => removeFolder(dir);
  try {
    await makeFolder(checkpointDir);
    return { dir, state: await source.capture(dir, others), drop };
  } catch (error) {
    await drop();
    throw diskError(error, checkpointDir);
  }
}

export interface CaptureDirectory {
  make(): Promise<void>;
  /** Removes the directory if this object created it and it is empty. */
  drop(): Promise<void>;
}

/** Returns the capture directory of `owner`. The first `make` removes captures left by earlier processes of this owner. */
export function captureDirectory(path: string, owner: string): CaptureDirectory {
  let made = false;
  let tidied = false;
  return {
    async make() {
      try {
        if ((await makeFolder(path)) !== undefined) made = true;
        if (!tidied) await removeCaptures(path, owner);
      } catch (error) {
        throw diskError(error, path);
      }
      tidied = true;
    },
    async drop() {
      if (!made) return;
      try {
        await rmdir(path);
        made = false;
      } catch (error) {
        const code = systemErrorCode(error);
        if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOENT") throw error;
      }
    },
  };
}

async function removeCaptures(path: string, owner: string): Promise<void> {
  for (const name of await readdir(path)) {
    // Captures of other owners in the same directory may be in use.
    if (name.startsWith(prefixOf(owner))) await removeFolder(join(path, name));
  }
}

/** The prefix has a hash of the owner, which may contain characters that are invalid in a folder's name. */
function prefixOf(owner: string): string {
  return `capture-${createHash("sha256").update(owner).digest("hex").slice(0, 12)}-`;
}

/** This is an interface because the simulation of many nodes does not copy anything to a disk. */
export interface Archiving {
  readonly directory: typeof captureDirectory;
  readonly capture: typeof captureTo;
  readonly pack: typeof packDirectory;
}

/** Copies the index on this machine's disk, and packs the copy while reading it. */
export const archivingOnDisk: Archiving = {
  directory: captureDirectory,
  capture: captureTo,
  pack: packDirectory,
};
