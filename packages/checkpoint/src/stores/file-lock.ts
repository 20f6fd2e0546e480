import { randomBytes } from "node:crypto";
import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { TEMPORARY_PREFIX } from "./store-names.ts";

/** What is done under a lock takes milliseconds; a lock this old belongs to a process that died with it. */
const STALE_AFTER_MS = 10_000;
const TRIES = 200;

/** Runs `work` while no other process does so for the same file: comparing and replacing must be one step. */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const lock = join(dirname(path), `.lock-${basename(path)}`);
  await acquire(lock);
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function acquire(lock: string): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      await (await open(lock, "wx")).close();
      return;
    } catch (error) {
      if (systemErrorCode(error) !== "EEXIST") throw error;
    }
    if (await isStale(lock)) await breakLock(lock);
    else await sleep(5 + Math.random() * 20);
  }
  throw new CairnError("STORE_UNREACHABLE", `The lock ${lock} did not become free.`, {
    hint: "If no node is using the store, remove the file.",
  });
}

async function isStale(lock: string): Promise<boolean> {
  const probe = join(dirname(lock), TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
  try {
    const { mtimeMs } = await stat(lock);
    // Both times are the file system's own: this machine's clock may be another.
    await (await open(probe, "wx")).close();
    return (await stat(probe)).mtimeMs - mtimeMs > STALE_AFTER_MS;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return false;
    throw error;
  } finally {
    await rm(probe, { force: true });
  }
}

async function breakLock(lock: string): Promise<void> {
  const aside = join(dirname(lock), TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
  try {
    // Renaming first: of several that break the lock only one can, so none removes the next holder's.
    await rename(lock, aside);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
  await rm(aside, { force: true });
}
