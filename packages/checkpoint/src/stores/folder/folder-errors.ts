import {
  CairnError,
  type ErrorCode,
  errorMessage,
  systemErrorCode,
  systemErrorOf,
  systemRefused,
} from "@cairn/kv";
import { STORE_FULL_HINT } from "../../store/stored-files.ts";

/**
 * Converts file system errors to `STORE_*`, and shortages and limits of this process or machine, which are not the store's
 * failures, to `SYSTEM_REFUSED` and `DISK_FULL`. `doing` is a participle phrase for the message, such as "writing a.tar".
 */
export function folderError(error: unknown, doing: string, location: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined || error instanceof CairnError) return error;
  const system = systemErrorOf(error);
  // Space in the store, which a sweep could free, does not raise the limit on the size of files.
  if (system?.meaning === "wait" || system?.errno === "EFBIG")
    return systemRefused(`The checkpoint store ${location}`, system, error);
  const refused = (as: ErrorCode, what: string, hint: string): CairnError =>
    new CairnError(as, `The checkpoint store ${location} ${what}.`, { hint, cause: error });
  if (code === "EROFS")
    return refused(
      "STORE_DENIED",
      `is on a read-only file system (${code}), so nothing can be written to it`,
      "Mount it writable. If it was not mounted read-only on purpose, its disk is failing: check the kernel's log.",
    );
  if (system?.meaning === "denied") {
    const hint = "Allow this process's user to read and write the folder.";
    return refused("STORE_DENIED", `does not permit ${doing} (${code})`, hint);
  }
  if (system?.meaning === "full")
    return refused("STORE_FULL", `has no space left for ${doing} (${code})`, STORE_FULL_HINT);
  if (code === "ENOTDIR")
    return refused(
      "STORE_UNREACHABLE",
      `is not a folder, or below something that is not (${code})`,
      "Correct the path of the store, or move that file away.",
    );
  const what = `did not respond while ${doing}: ${errorMessage(error)}`;
  return refused("STORE_UNREACHABLE", what, "Check that the volume is mounted and healthy.");
}

export async function inFolder<T>(location: string, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw folderError(error, doing, location);
  }
}
