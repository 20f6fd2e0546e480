import { open, readdir, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import {
  CairnError,
  checkWriteAheadLogs,
  errorMessage,
  isCairnError,
  isLockedElsewhere,
  systemErrorCode,
  makeFolder,
} from "@cairn/kv";
import { ClassicLevel } from "classic-level";

const WRITE_BUFFER_BYTES = 4 * 1024 * 1024;

/** LevelDB with bytes as keys and values. */
export type Database = ClassicLevel<Uint8Array, Uint8Array>;

/** Whether `path` holds a database. A folder that lost a part of one is an error: it must not look like an empty log. */
export async function hasDatabase(path: string): Promise<boolean> {
  const names = await namesIn(path);
  if (names.includes("CURRENT")) return true;
  // LevelDB makes tables and write-ahead logs only after CURRENT.
  const rest = names.find((name) => /\.(ldb|sst|log)$/.test(name));
  if (rest === undefined) return false;
  throw new CairnError(
    "LOG_GAP",
    `The log in ${path} is damaged: its file CURRENT is missing, but ${rest} is there.`,
    {
      hint: DAMAGED_HINT,
    },
  );
}

/** Opens the database in `path`, or makes it when there is none. */
export async function openDatabase(path: string): Promise<Database> {
  try {
    await makeDurably(path);
    await checkTail(path);
    const database: Database = new ClassicLevel(path, {
      keyEncoding: "view",
      valueEncoding: "view",
      writeBufferSize: WRITE_BUFFER_BYTES,
    });
    await database.open();
    return database;
  } catch (error) {
    throw databaseError(path, error);
  }
}

/** LevelDB passes over what is damaged in its write-ahead log, together with all that follows: the log would lose its end. */
async function checkTail(path: string): Promise<void> {
  try {
    if (await hasDatabase(path)) await checkWriteAheadLogs(path);
  } catch (error) {
    // Files that vanish or change belong to somebody who writes there; opening says so.
    if (systemErrorCode(error) === "ENOENT" || (await isLockedElsewhere(path))) return;
    throw isCairnError(error, "INDEX_CORRUPT") ? damagedFile(path, error) : error;
  }
}

/** Whether the disk has room for what opening writes: the contents of the write-ahead log once more, as tables. */
export async function hasRoomToOpen(path: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize > 4 * WRITE_BUFFER_BYTES;
}

/** What an error of the database in `path` means to a user. */
export function databaseError(path: string, error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  const [code, reason] = innermost(error);
  if (code === "LEVEL_LOCKED") {
    return new CairnError("INDEX_LOCKED", `The log in ${path} is in use by another process.`, {
      hint: "Stop the other node, or give this one another log folder.",
      cause: error,
    });
  }
  if (code === "LEVEL_CORRUPTION") {
    return new CairnError("LOG_GAP", `The log in ${path} is damaged: ${reason}.`, {
      hint: DAMAGED_HINT,
      cause: error,
    });
  }
  if (/ENOSPC|EDQUOT|No space left|File too large|quota exceeded/i.test(`${code} ${reason}`)) {
    return new CairnError(
      "DISK_FULL",
      `The log in ${path} cannot be written because there is no space left.`,
      {
        hint: "Make room on the disk; the log goes on by itself.",
        cause: error,
      },
    );
  }
  return new CairnError("LOG_UNREACHABLE", `The log in ${path} cannot be used: ${reason}.`, {
    hint: "Check that the folder exists on a working disk and that this user may write to it.",
    cause: error,
  });
}

/** The message at `position` of the log in `path` is not what was written. */
export function damagedMessage(path: string, position: number): CairnError {
  return new CairnError("LOG_GAP", `Message ${position} of the log in ${path} is damaged.`, {
    hint: DAMAGED_HINT,
  });
}

/** Messages that were acknowledged are not in the log in `path` any more. */
export function lostMessages(path: string, from: number, to: number): CairnError {
  return new CairnError("LOG_GAP", `The log in ${path} lost its messages ${from} to ${to}.`, {
    hint: DAMAGED_HINT,
  });
}

/** What a damaged file of the database in `path`, found by comparing checksums, means to a user. */
export function damagedFile(path: string, cause: CairnError): CairnError {
  return new CairnError("LOG_GAP", `The log in ${path} is damaged: ${cause.message}`, {
    hint: DAMAGED_HINT,
    cause,
  });
}

const DAMAGED_HINT =
  "Restore the folder from a copy. Checkpoints hold the index up to their transaction, not the log.";

// abstract-level wraps what LevelDB said in "Database failed to open".
function innermost(error: unknown): [code: string, reason: string] {
  if (error instanceof Error && error.cause !== undefined) return innermost(error.cause);
  return [systemErrorCode(error) ?? "", errorMessage(error)];
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw databaseError(path, error);
  }
}

/** Makes the folder and those above it such that they survive a power loss: LevelDB flushes only its own. */
async function makeDurably(path: string): Promise<void> {
  const topmost = await makeFolder(path);
  if (topmost === undefined) return;
  for (let folder = path; folder.length >= topmost.length; folder = dirname(folder)) {
    const handle = await open(dirname(folder));
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
