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
import { UsageError } from "../terminal/report-error.ts";
import { stagingFolder } from "../places/staging-folder.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { interruptible } from "../terminal/interrupt.ts";

/** What every command that looks at a database takes. */
export interface DbOptions extends ConfiguredOptions {
  /** A folder, relative to the working directory; where {@link makeStaging} finds best when left out. */
  readonly staging?: string;
  /** Of this log (its id), where a folder has checkpoints of several. */
  readonly log?: string;
  /** False: the tables are not compared with their checksums. */
  readonly checksums: boolean;
}

/** A copy of the database at a place, which nobody else uses and which goes away. */
export interface DbCopy {
  readonly kind: DbPlace["kind"];
  /** For messages: what was copied. */
  readonly source: string;
  /** Where the copy lies. Opening it may write to it. */
  readonly dir: string;
  /** Of a checkpoint. */
  readonly manifest: Manifest | undefined;
  readonly signal: AbortSignal;
}

/**
 * Runs `use` with a copy of the database at `place`, or of the index of the configured node: of a LevelDB a capture, whose tables are links where the file system allows, of
 * a checkpoint a restore. Neither takes a lock nor writes to the place. At the signal that ends the command `signal` is aborted; the copy is removed at the end.
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
  const { signal, forget } = interruptible(terminal, "what was looked at is as it was");
  const dir = join(staging, "copy");
  try {
    if (found.kind === "checkpoint") {
      const { name, manifest } = await restore(place, { staging, dir, options }, signal, terminal);
      return await use({ kind: found.kind, source: name, dir, manifest, signal });
    }
    await capture(found.dir, dir);
    return await use({ kind: found.kind, source: place, dir, manifest: undefined, signal });
  } catch (error) {
    throw named(error, dir, place);
  } finally {
    forget();
    await rm(staging, { recursive: true, force: true });
  }
}

/**
 * The temporary folder, unless links to it are not possible and a folder beside the place is: a copy of a large index would fill it.
 */
async function makeStaging(found: DbPlace, asked: string | undefined, terminal: Terminal): Promise<string> {
  if (asked !== undefined) return await stagingFolder(asked, PREFIX, terminal);
  if (found.kind !== "checkpoint") {
    const [index, temporary] = [await stat(found.dir), await stat(tmpdir())];
    const beside = dirname(found.kind === "db-dir" ? dirname(found.dir) : found.dir);
    if (index.dev !== temporary.dev && (await stat(beside)).dev === index.dev) {
      try {
        return await mkdtemp(join(beside, `.${PREFIX}`));
      } catch (error) {
        // Not this user's to write in: then the temporary folder has to do.
        if (!["EACCES", "EPERM", "EROFS"].includes(systemErrorCode(error) ?? "")) throw error;
      }
    }
  }
  return await stagingFolder(undefined, PREFIX, terminal);
}

const PREFIX = "cairn-db-";

async function capture(source: string, dir: string): Promise<void> {
  try {
    // Unchecked: the commands compare the tables themselves, and tell more. A person waits, so it is given up sooner than by a node.
    await captureLevelDb(source, dir, { unchecked: true, maxStarts: 5 });
  } catch (error) {
    // Files that keep vanishing, or one that has been gone all the time: only the second is damage.
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
      hint: "Restore the index from a checkpoint; the transaction log has everything that is in it.",
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
      throw new UsageError("--log chooses a checkpoint, and one is named already.");
    }
    const { name } = await chooseCheckpoint(store, inPlace, log, signal);
    const display = showRestore(terminal, "restoring");
    try {
      const { restored, skipped } = await restoreCheckpoint({
        stores: [store],
        stagingDir: join(staging, "unpacking"),
        targetDir: dir,
        node: "cairn db",
        // What is inspected is not written to. One that is pruned meanwhile is told as such.
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

/** Messages name what was asked about, not the copy, which is gone when they are read. */
function named(error: unknown, dir: string, source: string): unknown {
  if (!isCairnError(error)) return error;
  const { code, message, hint, cause } = error;
  const staging = dirname(dir);
  if (code === "DISK_FULL" && message.includes(staging)) {
    return new CairnError(code, `There is no space left in ${dirname(staging)} for a copy of ${source}.`, {
      hint: "Free some space, or name another folder with --staging. The copy was removed.",
      cause: error,
    });
  }
  if (!message.includes(dir)) return error;
  return new CairnError(code, message.replaceAll(dir, source), {
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}
