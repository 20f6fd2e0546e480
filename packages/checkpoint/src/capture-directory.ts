import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { diskError, systemErrorCode } from "@cairn/kv";
import type { IndexState } from "./checkpoint.ts";
import type { CheckpointSource } from "./checkpoint-source.ts";

/** A copy of the index on this machine, on its way to the store. */
export interface Capture {
  readonly dir: string;
  readonly state: IndexState;
  /** Removes the copy; its links would keep space occupied that the index has freed. */
  drop(): Promise<void>;
}

/** Captures the index into a new folder below `checkpointDir`. A failure removes what it made. */
export async function captureTo(checkpointDir: string, source: CheckpointSource): Promise<Capture> {
  const dir = join(checkpointDir, prefixOf(source.node) + randomBytes(4).toString("hex"));
  const drop = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await mkdir(checkpointDir, { recursive: true });
    return { dir, state: await source.capture(dir), drop };
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

/** The capture directory of a node. The first `make` removes what an earlier life of the node left in it. */
export function captureDirectory(path: string, node: string): CaptureDirectory {
  let made = false;
  let tidied = false;
  return {
    async make() {
      try {
        if ((await mkdir(path, { recursive: true })) !== undefined) made = true;
        if (!tidied) await removeCaptures(path, node);
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

async function removeCaptures(path: string, node: string): Promise<void> {
  for (const name of await readdir(path)) {
    // Another node's captures in the same directory are in use.
    if (name.startsWith(prefixOf(node))) await rm(join(path, name), { recursive: true, force: true });
  }
}

/** A node's id may hold any characters, and a folder's name may not. */
function prefixOf(node: string): string {
  return `capture-${createHash("sha256").update(node).digest("hex").slice(0, 12)}-`;
}
