import { statfs } from "node:fs/promises";
import {
  CairnError,
  checkBeforeOpening,
  checkWriteAheadLogs,
  claimDirectory,
  type ClaimedDirectory,
  errorMessage,
  isCairnError,
  isLockedElsewhere,
  type LogEnd,
  namesIn,
  openKeepingLogs,
  syncFolder,
  systemErrorCode,
  systemErrorOf,
  systemRefused,
  whileLocked,
} from "@cairn/kv";
import { formatBytes } from "@cairn/text";
import { ClassicLevel } from "classic-level";
import { beginCreation, isBeingMade, makeDurably } from "./embedded-creation.ts";
import { cutTorn, isTorn } from "./cut-torn-writes.ts";

const WRITE_BUFFER_BYTES = 4 * 1024 * 1024;
/** What LevelDB may write while it is opened. */
const ROOM_BYTES = 4 * WRITE_BUFFER_BYTES;
/** The files that it may create meanwhile, on a file system that has a limited number of inodes. */
const ROOM_FILES = 16;

export type Database = ClassicLevel<Uint8Array, Uint8Array>;

/**
 * Returns whether `path` holds a database that may contain messages, rather than one whose creation was interrupted.
 * Throws `LOG_GAP` if part of a database is missing, because such a database must not be mistaken for an empty log.
 */
export async function hasDatabase(path: string): Promise<boolean> {
  const names = await namesIn(path).catch((error: unknown) => {
    throw databaseError(path, error);
  });
  if (isBeingMade(names)) return false;
  if (names.includes("CURRENT")) return true;
  // LevelDB creates tables and write-ahead logs only after CURRENT.
  const rest = names.find((name) => /\.(ldb|log)$/.test(name));
  if (rest === undefined) return false;
  throw damaged(`The log in ${path} is damaged: its file CURRENT is missing, but ${rest} exists.`);
}

export interface OpeningOptions {
  /** If true, the database is created if there is none. A new database is complete only after `endCreation`. */
  readonly create?: boolean;
  /**
   * Called with a sentence about each incomplete write that was cut off, and about an interrupted creation. If present,
   * a copy of the removed bytes is kept.
   */
  readonly onNotice?: ((sentence: string) => void) | undefined;
}

/** `unchecked` lists large tables that have not yet been compared with their checksums. */
export async function openDatabase(path: string, options: OpeningOptions) {
  let claim: ClaimedDirectory | undefined;
  try {
    if (options.create === true) await makeDurably(path);
    claim = await claimDirectory(path);
    const { release } = claim;
    if (options.create === true) await beginUnlessThere(path, options);
    const exists = await hasDatabase(path);
    const ends = exists ? await checkTail(path, options) : undefined;
    // Must precede opening: an open LevelDB compacts at once, and on a damaged key fails an assertion, every time.
    const unchecked = exists ? await checkBeforeOpening(path) : undefined;
    const make = (): Database =>
      new ClassicLevel(path, {
        // LevelDB treats a CURRENT file that it cannot read (EIO, EACCES) as missing, and would create a new database
        // over the existing files.
        createIfMissing: !exists,
        keyEncoding: "view",
        valueEncoding: "view",
        writeBufferSize: WRITE_BUFFER_BYTES,
        // Compressing costs a tenth of a write's processor time.
        compression: false,
      });
    const database = await openKeepingLogs(make, path, { exists, ends });
    database.once("closed", release);
    try {
      // Opening ends with a rename of CURRENT, which LevelDB does not flush.
      await syncFolder(path);
      await claim.opened();
    } catch (error) {
      await database.close();
      throw error;
    }
    return { database, claim, unchecked };
  } catch (error) {
    claim?.release();
    if (isCairnError(error, "INDEX_LOCKED")) throw inUse(path, error);
    throw isCairnError(error, "INDEX_CORRUPT") ? damagedFile(path, error) : databaseError(path, error);
  }
}

async function beginUnlessThere(path: string, { onNotice }: OpeningOptions): Promise<void> {
  await whileLocked(path, async () => {
    if (await hasDatabase(path)) return;
    const aside = await beginCreation(path);
    if (aside === undefined) return;
    onNotice?.(
      `The creation of the log in ${path} was interrupted by a power loss or the end of the process. No message was stored in the log, and it is being created again. Its files were moved to ${aside}.`,
    );
  });
}

/**
 * Cuts off the last write if a power loss left it incomplete. Any other incomplete data is damage, which LevelDB would
 * skip with everything after it. Returns where the logs end, as {@link checkWriteAheadLogs} does.
 */
async function checkTail(path: string, { onNotice }: OpeningOptions): Promise<readonly LogEnd[] | undefined> {
  try {
    if (await isTorn(path)) {
      // `cutTorn` checks again under the lock, because another process may have been writing.
      const sentences = await whileLocked(path, () => cutTorn(path, onNotice !== undefined));
      for (const sentence of sentences) onNotice?.(sentence);
    }
    return await checkWriteAheadLogs(path);
  } catch (error) {
    // If another process has the log open, its files may change during the check. Opening then reports the lock.
    if (await isLockedElsewhere(path)) return undefined;
    // If CURRENT is empty, the path of the manifest that it names is the folder itself (EISDIR).
    if (["ENOENT", "EISDIR"].includes(systemErrorCode(error) ?? "")) throw damagedFile(path, error);
    throw error;
  }
}

export async function hasRoomToOpen(path: string): Promise<boolean> {
  const { bavail, bsize, files, ffree } = await statfs(path);
  return bavail * bsize > ROOM_BYTES && (files === 0 || ffree > ROOM_FILES);
}

/** Matches LevelDB's message for a table that points beyond its own end. LevelDB reports this as a system error. */
const BEYOND_TABLE = /^IO error: .*\.ldb: Invalid argument$/;

export function databaseError(path: string, error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  const [code, reason] = innermost(error);
  if (code === "LEVEL_LOCKED") {
    return inUse(path, error);
  }
  if (code === "LEVEL_CORRUPTION" || BEYOND_TABLE.test(reason)) {
    return damaged(`The log in ${path} is damaged: ${reason}.`, error);
  }
  const system = systemErrorOf(error);
  if (system?.meaning === "full") {
    return new CairnError("DISK_FULL", `The log in ${path} cannot be written because ${system.what}.`, {
      hint:
        system.hint ??
        `Free at least ${formatBytes(ROOM_BYTES)} on its disk, or inodes if it has run out of them (df -i). The log then continues by itself.`,
      cause: error,
    });
  }
  if (system?.meaning === "wait") return systemRefused(`The log in ${path}`, system, error);
  return new CairnError("LOG_UNREACHABLE", `The log in ${path} cannot be used: ${reason}.`, {
    hint: "Make sure that the folder exists on a working disk and that this user is allowed to write to it.",
    cause: error,
  });
}

export function damaged(sentence: string, cause?: unknown): CairnError {
  return new CairnError("LOG_GAP", sentence, { hint: DAMAGED_HINT, cause });
}

export function damagedFile(path: string, cause: unknown): CairnError {
  const reason = cause instanceof CairnError ? cause.message : `${errorMessage(cause)}.`;
  return damaged(`The log in ${path} is damaged: ${reason}`, cause);
}

const DAMAGED_HINT =
  "Restore the folder from a copy and restart the node. Without a copy, stop the node, move the folder away (keep it), run cairn log recover, which continues from the node's index or from what else is further, and start the node.";

function inUse(path: string, cause: unknown): CairnError {
  return new CairnError("INDEX_LOCKED", `The log in ${path} is in use by another process.`, {
    hint: "An embedded log belongs to one process. To run this command, stop the node, and start it again afterwards; what only works on checkpoints, or only reads a log backup, also runs now, with the folder of the store in place of a configuration. To start another node, configure another folder for its log.",
    cause,
  });
}

// Returns the code and reason of LevelDB's error, which abstract-level wraps in "Database failed to open".
function innermost(error: unknown): [code: string, reason: string] {
  if (error instanceof Error && error.cause !== undefined) return innermost(error.cause);
  return [systemErrorCode(error) ?? "", errorMessage(error)];
}
