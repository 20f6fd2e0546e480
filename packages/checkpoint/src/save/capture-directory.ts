import { createHash, randomBytes } from "node:crypto";
import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { diskError, makeFolder, systemErrorCode } from "@cairn/kv";
import type { IndexState } from "../store/checkpoint.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";

/** A copy of the index on this machine, on its way to the store. */
export interface Capture {
  readonly dir: string;
  /** What the copy holds, as read from the copy. */
  readonly state: IndexState;
  /** Removes the copy; its links would keep space occupied that the index has freed. */
  drop(): Promise<void>;
}

/** Captures the index into a new folder of `owner` below `checkpointDir`. A failure removes what it made. */
export async function captureTo(
  checkpointDir: string,
  source: CheckpointSource,
  owner = source.node,
  others: readonly number[] = [],
): Promise<Capture> {
  const dir = join(checkpointDir, prefixOf(owner) + randomBytes(4).toString("hex"));
  const drop = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await makeFolder(checkpointDir);
    return { dir, state: await source.capture(dir, others), drop };
  } catch (error) {
    await drop();
    throw diskError(error, checkpointDir);
  }
}

/** The directory below which captures are made; removed again only if it was made here. */
export interface CaptureDirectory {
  make(): Promise<void>;
  /** Removes it if it was made here and nothing lies in it. */
  drop(): Promise<void>;
}

/** The capture directory of `owner`. The first `make` removes what an earlier life of it left there. */
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
    // Another owner's captures in the same directory are in use.
    if (name.startsWith(prefixOf(owner))) await rm(join(path, name), { recursive: true, force: true });
  }
}

/** An owner may hold any characters, and a folder's name may not. */
function prefixOf(owner: string): string {
  return `capture-${createHash("sha256").update(owner).digest("hex").slice(0, 12)}-`;
}
