import { randomBytes } from "node:crypto";
import { lstat, readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  CairnError,
  isCairnError,
  makeTemporaryFolder,
  systemErrorCode,
  systemErrorOf,
  unlessFailed,
} from "@cairn/kv";
import type { CommandRun } from "../options/command.ts";
import { textValue } from "../options/option-specs.ts";

export const STAGING = textValue(
  "<directory>",
  "the folder for temporary copies (default: the temporary folder)",
);

/** Creates a folder for the run in `--staging` or the temporary folder. Throws `CONFIG_INVALID` or `DISK_FULL`. */
export async function stagingFolder(
  run: CommandRun<{ readonly staging?: string | undefined }>,
  purpose: string,
): Promise<string> {
  const { staging } = run.options;
  const parent = staging === undefined ? tmpdir() : resolve(run.terminal.cwd, staging);
  const folder = await workFolder(run, parent, purpose);
  explainFullDisk(run, parent, ", or choose a folder on another disk with --staging");
  await makeTemporaryFolder(folder);
  return folder;
}

/** The hint of a full disk is otherwise for a node, which tries again. */
function explainFullDisk(run: CommandRun, parent: string, otherwise = ""): void {
  const { explained } = run;
  run.explained = (thrown) => {
    const error = explained(thrown);
    if (!isCairnError(error, "DISK_FULL") || !error.message.includes(parent)) return error;
    // The limit of the process, not the disk.
    if (systemErrorOf(error.cause)?.errno === "EFBIG") return error;
    const hint = `Free some space in ${parent}${otherwise}, and run the command again. Nothing was changed.`;
    return new CairnError(error.code, error.message, { hint, cause: error.cause });
  };
}

/** The work folders of this process, which other runs in it must not remove. */
const inUse = new Set<string>();

/**
 * Returns a new folder name for the run, as next to a target, so that the last step of a restore can be a rename. Removes
 * the folders that processes of this user on this machine left there when they were killed.
 */
export async function workFolder(run: CommandRun, parent: string, purpose: string): Promise<string> {
  // Another machine, or a container, may use the folder as well, and its processes cannot be seen from here.
  const prefix = `.cairn-${purpose}-${hostname()}-`;
  // What uses the folder reports that it is a file, or may not be read.
  for (const name of await unlessFailed(readdir(parent), ["ENOENT", "ENOTDIR", "EACCES"], [])) {
    const pid = Number(name.startsWith(prefix) && /^\d+(?=-)/.exec(name.slice(prefix.length))?.[0]);
    const folder = join(parent, name);
    const isLeft = pid > 0 && !inUse.has(folder) && (pid === process.pid || !isRunning(pid));
    if (isLeft && (await isOwn(folder))) await removeFrom(folder);
  }
  explainFullDisk(run, parent);
  const folder = join(parent, `${prefix}${process.pid}-${randomBytes(4).toString("hex")}`);
  inUse.add(folder);
  run.defer(() => inUse.delete(folder));
  run.defer(() => removeFrom(folder));
  return folder;
}

/** Anyone may put a folder into the temporary folder, and replace what is in it with links while it is removed. */
async function isOwn(folder: string): Promise<boolean> {
  const found = await unlessFailed(lstat(folder), "ENOENT", undefined);
  return found?.uid === (process.getuid?.() ?? found?.uid);
}

/** Whether this machine has such a process, even if it is of another user. */
export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) !== "ESRCH";
  }
}

/** If a parent is a file, nothing was created, and the error that reports this must not be replaced. */
async function removeFrom(folder: string): Promise<void> {
  await unlessFailed(rm(folder, { recursive: true, force: true }), ["ENOTDIR", "EACCES", "EPERM"], undefined);
}
