import { mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ClassicLevel } from "classic-level";
import { systemErrorCode, unlessFailed } from "../errors/errors.ts";
import { currentManifestPath } from "../files/current-manifest.ts";
import { innermost, locked } from "./level-errors.ts";
import { closing } from "../concurrency/closing.ts";

/**
 * The directories that this process has open, by device and inode. LevelDB's lock is not sufficient within a process:
 * LevelDB opens the same directory a second time through another path and, when it refuses to open the same path again,
 * loses its lock against other processes, because closing any descriptor of a file releases the process's fcntl locks
 * on it.
 */
const openDirectories = new Set<string>();

export type ClaimedDirectory = Awaited<ReturnType<typeof claimDirectory>>;

/** Claims a directory within this process. Throws `INDEX_LOCKED` if it is already claimed. */
export async function claimDirectory(dir: string) {
  const identity = await identityOf(dir);
  if (openDirectories.has(identity)) throw locked(dir);
  openDirectories.add(identity);
  let opened: { readonly lock: string; readonly manifest: string | undefined } | undefined;
  return {
    release: (): void => void openDirectories.delete(identity),
    /** Remembers the lock and the manifest of the database, which was just opened and keeps both until it is closed. */
    async opened(): Promise<void> {
      opened = { lock: await identityOf(join(dir, "LOCK")), manifest: await manifestIdentity(dir) };
    },
    /**
     * Returns whether the path still leads to this directory and the directory contains the opened database with its
     * lock, or any database if none was opened. If not, another process may have opened the database, or what is written
     * to its open files may be lost with them: an open store throws `filesGone`, and a log acknowledges nothing.
     */
    async isThere(): Promise<boolean> {
      try {
        await stat(join(dir, "CURRENT"));
        if ((await identityOf(dir)) !== identity) return false;
        if (opened === undefined) return true;
        // The files may have been replaced within the directory. The inodes of open files cannot be reused.
        const { lock, manifest } = opened;
        if ((await identityOf(join(dir, "LOCK"))) !== lock) return false;
        const current = await manifestIdentity(dir);
        return manifest === undefined || current === undefined || current === manifest;
      } catch (error) {
        if (systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "ENOTDIR") return false;
        throw error;
      }
    },
  };
}

/** Returns the identity of the manifest that CURRENT names; undefined if either file is damaged or missing. */
async function manifestIdentity(dir: string): Promise<string | undefined> {
  const identity = currentManifestPath(dir).then(identityOf);
  return await unlessFailed(identity, ["INDEX_CORRUPT", "ENOENT"], undefined);
}

async function identityOf(dir: string): Promise<string> {
  const { dev, ino } = await stat(dir);
  return `${dev}:${ino}`;
}

/** Does not change its files. Only for directories that this process has claimed. */
export async function isLockedElsewhere(dir: string): Promise<boolean> {
  const unlocked = whileLocked(dir, () => Promise.resolve(false));
  return await unlessFailed(unlocked, "INDEX_LOCKED", true);
}

/**
 * Runs `work` while no other process can open the LevelDB database in `dir`. To that end, it opens an empty database
 * elsewhere, whose lock file is that of `dir`. This process must have claimed `dir`. Throws
 * `INDEX_LOCKED` if another process has the database open.
 */
export async function whileLocked<T>(dir: string, work: () => Promise<T>): Promise<T> {
  // A node needs no temporary folder: without one, this one is in the directory, where LevelDB ignores it.
  const inDirectory = (): Promise<string> => mkdtemp(join(resolve(dir), "cairn-lock-"));
  const probe = await mkdtemp(join(tmpdir(), "cairn-lock-")).catch(inDirectory);
  try {
    await symlink(join(resolve(dir), "LOCK"), join(probe, "LOCK"));
    const level = new ClassicLevel(probe);
    try {
      await level.open();
    } catch (error) {
      throw systemErrorCode(innermost(error)) === "LEVEL_LOCKED" ? locked(dir, error) : error;
    }
    return await closing(level, work);
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}
