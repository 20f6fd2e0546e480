import { open } from "node:fs/promises";
import { CairnError, errorMessage, systemErrorCode, type ErrorCode } from "@cairn/kv";

/** A module's codes for a full disk, for missing permissions, and for other system errors. */
export interface DiskCodes {
  readonly full: ErrorCode;
  readonly denied: ErrorCode;
  readonly other: ErrorCode;
}

const FULL = ["ENOSPC", "EDQUOT"];
const DENIED = ["EACCES", "EPERM", "EROFS"];

/** Runs `work`, and turns system errors into errors with one of the module's codes. Rethrows other errors. */
export async function onDisk<T>(codes: DiskCodes, place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const systemCode = systemErrorCode(error);
    if (systemCode === undefined || error instanceof CairnError) throw error;
    const code = FULL.includes(systemCode)
      ? codes.full
      : DENIED.includes(systemCode)
        ? codes.denied
        : codes.other;
    throw new CairnError(code, `${place} cannot be used: ${errorMessage(error)}.`, {
      hint: "Check the disk, its free space, and this user's permissions there.",
      cause: error,
    });
  }
}

/** Flushes a folder, so that its names survive a power loss: flushing a file does not flush its name. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Returns the result of `work`, or undefined if a file was missing. */
export async function unlessMissing<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    return undefined;
  }
}
