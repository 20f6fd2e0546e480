import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemErrorCode, syncFolder } from "@cairn/kv";
import { TEMPORARY_PREFIX } from "../../store/store-names.ts";
import { discard, type TemporaryFile } from "./write-file.ts";

/** What is done under a claim takes milliseconds; one this old belongs to a process that died with it. */
const STALE_AFTER_MS = 5_000;

/**
 * Gives `file` the name `target` if the content there still has `tag`. File systems cannot compare and replace in one step, so
 * whoever makes the file that claims this very content may replace it; the others answer false without waiting.
 */
export async function replaceIfUnchanged(
  root: string,
  file: TemporaryFile,
  target: string,
  tag: string,
  currentTag: () => Promise<string | undefined>,
): Promise<boolean> {
  // Named after the content that is to go: who wants to replace another content claims another file, and need not wait.
  const claim = join(root, `${TEMPORARY_PREFIX}claim-${basename(target)}-${tag.slice(0, 16)}`);
  try {
    // Before claiming: what is done under a claim must be short, for a process that dies then holds the others up.
    await file.handle.sync();
    // Both times are the file system's own: this machine's clock may be another.
    if (!(await take(claim, (await file.handle.stat()).mtimeMs))) {
      await discard(file);
      return false;
    }
    // Looked at after claiming: an earlier holder of the same claim has changed it.
    if ((await currentTag()) !== tag) {
      await Promise.all([discard(file), rm(claim, { force: true })]);
      return false;
    }
    await rename(file.path, target);
    await rm(claim, { force: true });
    await discard(file);
    await syncFolder(dirname(target));
    return true;
  } catch (error) {
    await Promise.all([discard(file), rm(claim, { force: true })]);
    throw error;
  }
}

async function take(claim: string, now: number): Promise<boolean> {
  if (await make(claim)) return true;
  if (!(await isStale(claim, now))) return false;
  await rm(claim, { force: true });
  return make(claim);
}

async function make(claim: string): Promise<boolean> {
  try {
    await (await open(claim, "wx")).close();
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function isStale(claim: string, now: number): Promise<boolean> {
  try {
    return now - (await stat(claim)).mtimeMs > STALE_AFTER_MS;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return false;
    throw error;
  }
}
