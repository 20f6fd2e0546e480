import { mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ClassicLevel } from "classic-level";
import { systemErrorCode } from "../errors/errors.ts";
import { innermost, locked } from "./level-errors.ts";

/**
 * The directories that this process has open, as device and inode. LevelDB's own lock does not do within a process:
 * by another path to the same directory it opens it a second time, and by refusing the same path it loses its lock
 * against other processes (a lock by fcntl goes with the first descriptor of the file that is closed).
 */
const openDirectories = new Set<string>();

/** A directory that this process has claimed. */
export interface ClaimedDirectory {
  release(): void;
  /** Whether its path still leads to it, and a database lies in it. */
  isThere(): Promise<boolean>;
}

/** Claims a directory within this process. `INDEX_LOCKED` when it is claimed already. */
export async function claimDirectory(dir: string): Promise<ClaimedDirectory> {
  const identity = await identityOf(dir);
  if (openDirectories.has(identity)) throw locked(dir);
  openDirectories.add(identity);
  return {
    release: () => void openDirectories.delete(identity),
    async isThere() {
      try {
        await stat(join(dir, "CURRENT"));
        return (await identityOf(dir)) === identity;
      } catch (error) {
        if (systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "ENOTDIR") return false;
        throw error;
      }
    },
  };
}

async function identityOf(dir: string): Promise<string> {
  const { dev, ino } = await stat(dir);
  return `${dev}:${ino}`;
}

/**
 * Whether another process has the LevelDB in `dir` open, found out without touching it: an empty database elsewhere is
 * opened whose lock file is that of `dir`. Only for directories that this process has claimed.
 */
export async function isLockedElsewhere(dir: string): Promise<boolean> {
  const probe = await mkdtemp(join(tmpdir(), "cairn-lock-"));
  try {
    await symlink(join(resolve(dir), "LOCK"), join(probe, "LOCK"));
    const level = new ClassicLevel(probe);
    await level.open();
    await level.close();
    return false;
  } catch (error) {
    if (systemErrorCode(innermost(error)) === "LEVEL_LOCKED") return true;
    throw error;
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}
