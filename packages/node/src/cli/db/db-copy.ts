import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Manifest, restoreCheckpoint } from "@cairn/checkpoint";
import {
  CairnError,
  captureLevelDb,
  isCairnError,
  LEVEL_FORMAT,
  liveTableNames,
  systemErrorCode,
} from "@cairn/kv";
import { judgeFormat } from "../../checkpoints/accept-checkpoint.ts";
import { chooseCheckpoint, noCheckpoint } from "../places/checkpoint-place.ts";
import { withCheckpoints } from "../places/checkpoint-source.ts";
import type { ConfiguredOptions } from "../options/command-options.ts";
import { configuredIndex, type DbPlace, findDbPlace } from "./db-place.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import type { StoreKeyOptions } from "../options/store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import { stagingFolder } from "../places/staging-folder.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { interruptible } from "../terminal/interrupt.ts";

/** The options for commands that inspect a database. */
export interface DbOptions extends ConfiguredOptions, StoreKeyOptions {
  /** The folder for copies, relative to the working directory. {@link makeStaging} chooses the default. */
  readonly staging?: string;
  /** The id of the log whose checkpoint is read. It is required if a folder contains checkpoints of several logs. */
  readonly log?: string;
  /** If true, the tables are compared with their checksums. */
  readonly checksums: boolean;
}

/** A private, temporary copy of a database. */
export interface DbCopy {
  readonly kind: DbPlace["kind"];
  /** The name by which messages refer to the original. */
  readonly source: string;
  /** The folder of the copy. Opening the copy may write to it. */
  readonly dir: string;
  /** The manifest, if the original is a checkpoint. */
  readonly manifest: Manifest | undefined;
  readonly signal: AbortSignal;
}

/**
 * Runs `use` with a copy of the database at a path, by default a copy of the configured node's index. A LevelDB
 * database is captured, with links to its tables if the file system allows them; a checkpoint is restored. The original
 * is neither locked nor written to. A signal that ends the command aborts the copy's `signal`. The copy is removed at
 * the end.
 */
export async function withDbCopy<T>(
  asked: string | undefined,
  options: DbOptions,
  terminal: Terminal,
  use: (copy: DbCopy) => Promise<T>,
): Promise<T> {
  const place = asked ?? (await configuredIndex(options, terminal));
  const found = await findDbPlace(place, terminal);
  const staging = await makeStaging(found, options.staging, terminal);
  const { signal, forget } = interruptible(terminal, "the original is unchanged");
  const dir = join(staging, "copy");
  try {
    if (found.kind === "checkpoint") {
      const { name, manifest } = await restore(place, { staging, dir, options }, signal, terminal);
      return await use({ kind: found.kind, source: name, dir, manifest, signal });
    }
    await capture(found.dir, dir);
    return await use({ kind: found.kind, source: place, dir, manifest: undefined, signal });
  } catch (error) {
    throw aboutOriginal(error, dir, place);
  } finally {
    forget();
    await rm(staging, { recursive: true, force: true });
  }
}

/**
 * Creates a folder for the copy in the temporary folder. If that is on a different file system from the original,
 * creates the folder next to the original if possible, because tables can be linked there, and copies of them could
 * fill the temporary folder.
 */
async function makeStaging(found: DbPlace, asked: string | undefined, terminal: Terminal): Promise<string> {
  if (asked !== undefined) return await stagingFolder(asked, PREFIX, terminal);
  if (found.kind !== "checkpoint") {
    const [index, temporary] = [await stat(found.dir), await stat(tmpdir())];
    const parent = dirname(found.kind === "db-dir" ? dirname(found.dir) : found.dir);
    if (index.dev !== temporary.dev && (await stat(parent)).dev === index.dev) {
      try {
        return await mkdtemp(join(parent, `.${PREFIX}`));
      } catch (error) {
        // If this user is not allowed to write to the parent folder, the temporary folder is used.
        if (!["EACCES", "EPERM", "EROFS"].includes(systemErrorCode(error) ?? "")) throw error;
      }
    }
  }
  return await stagingFolder(undefined, PREFIX, terminal);
}

const PREFIX = "cairn-db-";

async function capture(source: string, dir: string): Promise<void> {
  try {
    // The capture does not check the tables, because the commands check them and report more. It makes fewer attempts
    // than a node would, because a person is waiting.
    await captureLevelDb(source, dir, { unchecked: true, maxStarts: 5 });
  } catch (error) {
    // Either files keep disappearing during the capture, or a file was missing from the start. Only the latter is
    // damage.
    if (isCairnError(error, "CHECKPOINT_INCOMPLETE")) await requireTables(source, error);
    throw error;
  }
}

async function requireTables(source: string, cause: CairnError): Promise<void> {
  try {
    await liveTableNames(source);
  } catch (error) {
    if (!isCairnError(error, "CHECKPOINT_INCOMPLETE")) throw error;
    const what = error.message.replace(/^.* lacks /, "");
    throw new CairnError("INDEX_CORRUPT", `The database in ${source} lacks ${what}`, {
      hint: "Restore the index from a checkpoint; the transaction log contains all of its data.",
      cause,
    });
  }
}

interface Target {
  readonly staging: string;
  readonly dir: string;
  readonly options: DbOptions;
}

function restore(
  place: string,
  { staging, dir, options }: Target,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<{ name: string; manifest: Manifest }> {
  return withCheckpoints(place, options, terminal, async ({ store, name: inPlace }) => {
    const { log } = options;
    if (inPlace !== undefined && log !== undefined) {
      throw new UsageError("--log chooses a checkpoint, but one is already named.");
    }
    const { name } = await chooseCheckpoint(store, inPlace, log, signal);
    const display = showRestore(terminal, "restoring");
    try {
      const { restored, skipped } = await restoreCheckpoint({
        stores: [store],
        stagingDir: join(staging, "unpacking"),
        targetDir: dir,
        node: "cairn db",
        // Inspection does not write to the store, so it makes no reservation. If the checkpoint is pruned in the
        // meantime, the command reports that.
        reserveIn: () => false,
        name,
        accept: (manifest) =>
          Promise.resolve(
            manifest.format.kv === LEVEL_FORMAT ? true : (judgeFormat(manifest, LEVEL_FORMAT) ?? true),
          ),
        onProgress: display.onProgress,
        signal,
      });
      if (restored !== undefined) return { name, manifest: restored.manifest };
      throw skipped.find((one) => one.name === name)?.error ?? noCheckpoint([store], name, skipped);
    } finally {
      display.stop();
    }
  });
}

/** The copy no longer exists when the message is read, so the error names the original. */
function aboutOriginal(error: unknown, dir: string, source: string): unknown {
  if (!isCairnError(error)) return error;
  const { code, message, hint, cause } = error;
  const staging = dirname(dir);
  if (code === "DISK_FULL" && message.includes(staging)) {
    return new CairnError(code, `There is no space left in ${dirname(staging)} for a copy of ${source}.`, {
      hint: "Free some space, or name another folder with --staging. The incomplete copy was removed.",
      cause: error,
    });
  }
  if (!message.includes(dir)) return error;
  return new CairnError(code, message.replaceAll(dir, source), {
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}
