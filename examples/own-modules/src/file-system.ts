import { open } from "node:fs/promises";
import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";
import type { ErrorCode } from "@cairn/kv";

/** Which code a part has for a full disk, for missing rights, and for everything else that the system says. */
export interface DiskCodes {
  readonly full: ErrorCode;
  readonly denied: ErrorCode;
  readonly other: ErrorCode;
}

const FULL = ["ENOSPC", "EDQUOT"];
const DENIED = ["EACCES", "EPERM", "EROFS"];

/** Runs `work` on the disk; what the system says becomes one of the part's codes. Errors that are none of the system's pass. */
export async function onDisk<T>(codes: DiskCodes, place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const said = systemErrorCode(error);
    if (said === undefined || error instanceof CairnError) throw error;
    const code = FULL.includes(said) ? codes.full : DENIED.includes(said) ? codes.denied : codes.other;
    throw new CairnError(code, `${place} cannot be used: ${errorMessage(error)}.`, {
      hint: "Look at the disk, its free space, and this user's rights there.",
      cause: error,
    });
  }
}

/** Makes the names in a folder survive a power loss: flushing a file does not flush its name. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What `work` answers, or undefined where it found no such file. */
export async function unlessMissing<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    return undefined;
  }
}
