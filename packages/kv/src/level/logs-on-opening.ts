import { isCairnError, systemErrorCode } from "../errors/errors.ts";
import { locked } from "./level-errors.ts";
import { isLockedElsewhere } from "./level-lock.ts";
import { checkWriteAheadLogs } from "../files/write-ahead-logs.ts";

/**
 * Checks the write-ahead logs of the LevelDB in `dir` before LevelDB opens it. Errors: `INDEX_CORRUPT`; `INDEX_LOCKED` where somebody else
 * writes them meanwhile. Answers where they end, as {@link checkWriteAheadLogs} does; undefined where that is not known.
 */
export async function checkLogsOnOpening(dir: string): Promise<number | undefined> {
  try {
    return await checkWriteAheadLogs(dir);
  } catch (error) {
    const missing = ["ENOENT", "EISDIR"].includes(systemErrorCode(error) ?? "");
    if (!missing && !isCairnError(error, "INDEX_CORRUPT")) throw error;
    // Files that vanish or change belong to somebody who writes there: that is what has to be said then.
    if (await isLockedElsewhere(dir)) throw locked(dir, error);
    // What LevelDB itself misses, it names better.
    if (isCairnError(error)) throw error;
    return undefined;
  }
}
