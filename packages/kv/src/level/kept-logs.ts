import { constants } from "node:fs";
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ClassicLevel } from "classic-level";
import { syncFolder } from "../disk/sync-folder.ts";
import { errorMessage, isCairnError, systemErrorCode } from "../errors/errors.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { decodeManifestFile, type LevelManifest, needsLog } from "../files/level-manifest.ts";
import { innermost } from "./level-errors.ts";
import { LEVEL_BLOCK_SIZE, LevelRecordReader } from "../files/level-records.ts";

type Database = ClassicLevel<Uint8Array, Uint8Array>;

/** Write-ahead logs that LevelDB was given to recover, until it is known that it did. */
interface KeptLogs {
  /** Call once the database is open and before anybody uses it: applies what LevelDB passed over, then lets the logs go. */
  settle(level: Database): Promise<void>;
  /** Lets the logs go where another process has the database, which recovers them itself. */
  drop(): Promise<void>;
}

/** LevelDB's words for a database of which it cannot see the file CURRENT, for whatever reason. */
const NOT_SEEN = /does not exist \(create_if_missing is false\)/;
const KEPT_FOLDER = "unapplied";
const PREPARING_FOLDER = "unapplied.tmp";
/** What file systems without hard links answer to a link. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"]);
// In a batch: the sequence number of its first change (8 bytes) and their number (4 bytes), then the changes.
const BATCH_HEADER_SIZE = 12;
const PUT = 1;

/** Throws what kept LevelDB from seeing the file CURRENT, unless it is gone indeed. */
async function requireUnseen(dir: string): Promise<void> {
  try {
    await stat(join(dir, "CURRENT"));
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return;
    throw error;
  }
  throw Object.assign(new Error(`LevelDB could not look at ${join(dir, "CURRENT")}`), { code: "EIO" });
}

/** What is known of a database before it is opened. */
export interface BeforeOpening {
  readonly exists: boolean;
  /** The sequence number after the last batch of its write-ahead logs, which were checked; undefined where that is not known. */
  readonly end: number | undefined;
}

/**
 * Opens the database that `make` makes in `dir`, with everything that its write-ahead logs hold. Where anything fails it is closed, and
 * the next opening makes up for it.
 */
export async function openKeepingLogs(
  make: () => Database,
  dir: string,
  { exists, end }: BeforeOpening,
): Promise<Database> {
  const kept = exists ? await keepLogs(dir, end) : undefined;
  // Not earlier: a database that was made opens by itself.
  const level = make();
  try {
    await level.open();
  } catch (error) {
    if (systemErrorCode(innermost(error)) === "LEVEL_LOCKED") await kept?.drop();
    if (exists && NOT_SEEN.test(errorMessage(innermost(error)))) await requireUnseen(dir);
    throw error;
  }
  try {
    await kept?.settle(level);
  } catch (error) {
    await level.close();
    throw error;
  }
  return level;
}

/**
 * Keeps the write-ahead logs of the closed LevelDB in `dir`, which must have been checked, until the database is open.
 *
 * LevelDB passes over a write-ahead log that it cannot open or read (EMFILE, ENOMEM, EIO), reports no error, and removes it: without
 * another name for the file, everything in it would be lost because a descriptor was missing for a moment. Where the sequence numbers
 * do not prove that it read them all, their batches are applied again, which changes nothing where they were applied before: nothing
 * newer can be in a database that nobody has used.
 */
async function keepLogs(dir: string, end: number | undefined): Promise<KeptLogs> {
  const kept = join(dir, KEPT_FOLDER);
  const preparing = join(dir, PREPARING_FOLDER);
  const letGo = async (): Promise<void> => {
    await rename(kept, preparing);
    await rm(preparing, { recursive: true, force: true });
    // Found again after a power loss, they would be applied over what is newer. Last, since files that are gone need not be flushed.
    await syncFolder(dir);
  };
  await rm(preparing, { recursive: true, force: true });
  // Left by an opening that did not come to its end: those are the logs, and what lies there now are parts of them.
  const isRepeated = (await readdir(dir)).includes(KEPT_FOLDER);
  let provable = false;
  if (!isRepeated) {
    const { names, lastSequence } = await neededLogs(dir);
    // Of several logs one could be missing in the middle; and what the manifest counts already proves nothing when it is counted again.
    provable = end !== undefined && names.length === 1 && lastSequence < end - 1;
    if (names.length === 0) return { settle: async () => undefined, drop: async () => undefined };
    await mkdir(preparing);
    for (const name of names) await share(join(dir, name), join(preparing, name));
    await rename(preparing, kept);
  }
  const numbers = levelFileNumbers(await readdir(kept), "log");
  return {
    async settle(level) {
      const isProven = provable && end !== undefined && (await readManifest(dir)).lastSequence >= end - 1;
      if (!isProven) await applyAgain(level, kept, numbers);
      await letGo();
    },
    drop: letGo,
  };
}

async function readManifest(dir: string): Promise<LevelManifest> {
  const current = join(dir, (await readFile(join(dir, "CURRENT"), "utf8")).trim());
  return decodeManifestFile(current, await readFile(current));
}

/** The write-ahead logs that LevelDB reads when it opens the database, and up to where the manifest counts. */
async function neededLogs(
  dir: string,
): Promise<{ readonly names: readonly string[]; readonly lastSequence: number }> {
  let manifest: LevelManifest;
  try {
    manifest = await readManifest(dir);
  } catch (error) {
    // Without it LevelDB opens nothing, and says better what is missing.
    if (["ENOENT", "EISDIR"].includes(systemErrorCode(error) ?? "")) return { names: [], lastSequence: 0 };
    throw error;
  }
  const names: string[] = [];
  for (const log of levelFileNumbers(await readdir(dir), "log")) {
    const name = levelFileName(log, "log");
    if (needsLog(manifest, log) && (await stat(join(dir, name))).size > 0) names.push(name);
  }
  return { names, lastSequence: manifest.lastSequence };
}

async function share(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!NO_LINKS.has(systemErrorCode(error) ?? "")) throw error;
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}

async function applyAgain(level: Database, kept: string, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) {
    for await (const batch of batchesOf(join(kept, levelFileName(number, "log")))) {
      const again = level.batch();
      for (const { key, value } of changesOf(batch)) {
        if (value === undefined) again.del(key);
        else again.put(key, value);
      }
      // What was acknowledged lay on the disk before.
      await again.write({ sync: true });
    }
  }
}

async function* batchesOf(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new LevelRecordReader();
  const file = await open(path);
  try {
    for (let at = 0; ; at += LEVEL_BLOCK_SIZE) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(LEVEL_BLOCK_SIZE), 0, LEVEL_BLOCK_SIZE, at);
      if (bytesRead === 0) return;
      yield* reader.read(buffer.subarray(0, bytesRead));
    }
  } catch (error) {
    // The logs were checked before they were kept: this is a tail that was never written.
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
  } finally {
    await file.close();
  }
}

function* changesOf(
  batch: Uint8Array,
): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array | undefined }, void, undefined> {
  let at = BATCH_HEADER_SIZE;
  const part = (): Uint8Array => {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = batch[at] ?? 0;
      at += 1;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    at += length;
    return batch.subarray(at - length, at);
  };
  while (at < batch.length) {
    const isPut = batch[at] === PUT;
    at += 1;
    const key = part();
    yield { key, value: isPut ? part() : undefined };
  }
}
