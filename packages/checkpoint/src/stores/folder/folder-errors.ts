import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";

const DENIED = new Set(["EACCES", "EPERM", "EROFS"]);
const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Turns what the file system said about a store's folder into `STORE_*`; `doing` completes "while". Errors of the program stay. */
export function folderError(error: unknown, doing: string, location: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined || error instanceof CairnError) return error;
  if (DENIED.has(code)) {
    return new CairnError(
      "STORE_DENIED",
      `The checkpoint store ${location} does not permit ${doing} (${code}).`,
      {
        hint: "Give this process's user the right to read and write the folder, or mount it writable.",
        cause: error,
      },
    );
  }
  if (FULL.has(code)) {
    return new CairnError(
      "STORE_FULL",
      `The checkpoint store ${location} has no space left for ${doing} (${code}).`,
      {
        hint: "Free some space there or set a retention-policy; the store is as it was before.",
        cause: error,
      },
    );
  }
  return new CairnError(
    "STORE_UNREACHABLE",
    `The checkpoint store ${location} did not answer while ${doing}: ${errorMessage(error)}.`,
    { hint: "Check that the volume is mounted and healthy.", cause: error },
  );
}

/** Runs `work`; what the file system says becomes a store's error. */
export async function inFolder<T>(location: string, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw folderError(error, doing, location);
  }
}
