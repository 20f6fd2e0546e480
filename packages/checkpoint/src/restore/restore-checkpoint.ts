import { randomBytes } from "node:crypto";
import { rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CairnError, diskError, isCairnError, makeFolder, systemErrorCode, syncFolder } from "@cairn/kv";
import type { Manifest } from "../store/checkpoint.ts";
import { ARCHIVE_FORMATS } from "../store/checkpoint.ts";
import { checkpointFile } from "../store/checkpoint-name.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { systemClock } from "../timing/clock.ts";
import type { Clock } from "../timing/clock.ts";
import { findCandidates } from "./find-candidates.ts";
import type { Candidate } from "./find-candidates.ts";
import type { SkippedCheckpoint } from "../store/list-checkpoints.ts";
import { reserve } from "../store/reservations.ts";
import type { Reservation } from "../store/reservations.ts";
import { unlessAborted } from "../timing/unless-aborted.ts";
import { fileMarks, syncChangedFiles } from "../disk/file-marks.ts";
import { unpackArchive } from "../archive/unpack/unpack.ts";

/** How far a restore is; bytes of the archive. */
export interface RestoreProgress {
  readonly name: string;
  readonly done: number;
  readonly total: number;
}

/** What to restore, from where, to where. */
export interface RestoreOptions {
  /** Of equal checkpoints that of the earlier store is taken. */
  readonly stores: readonly CheckpointStore[];
  /** Unpacked and checked below it; on the same file system as `targetDir`. Made when it is not there. */
  readonly stagingDir: string;
  /** Must not exist or be empty; appears whole or not at all. */
  readonly targetDir: string;
  /** This node's id, for the reservation. */
  readonly node: string;
  /** Whether a reservation may be written into a store; into all when left out. Nothing else is ever written. */
  readonly reserveIn?: (store: CheckpointStore) => boolean;
  /** Only this log's checkpoints; of every log when left out. */
  readonly logId?: string;
  /** Only the checkpoint of this name. */
  readonly name?: string;
  /** Whether a candidate may be used, or why not. What it throws ends the restore. */
  readonly accept: (manifest: Manifest) => Promise<true | CairnError>;
  /** Looks at the unpacked files before they get their place. A `CHECKPOINT_*` or `INDEX_*` error skips the candidate. */
  readonly verify?: (dir: string, manifest: Manifest) => Promise<void>;
  readonly onProgress?: (progress: RestoreProgress) => void;
  readonly onSkipped?: (skipped: SkippedCheckpoint, store: CheckpointStore) => void;
  readonly signal?: AbortSignal;
  /** Whether everything else in the process goes first; false when left out. */
  readonly background?: boolean;
  /** How often a candidate is tried anew when its store breaks off; 3 when left out. */
  readonly retries?: number;
  readonly clock?: Clock;
}

/** What a restore came to: nothing `restored` when there was no candidate, and all that was passed over with why. */
export interface RestoreResult {
  readonly restored:
    | { readonly name: string; readonly store: string; readonly manifest: Manifest }
    | undefined;
  readonly skipped: readonly SkippedCheckpoint[];
}

const FIRST_PAUSE_MS = 200;
const GIVEN_UP_AFTER_MS = 1_000;
/** Codes that say nothing of a candidate: its store is not asked for others, and the restore does not end as if there were none. */
const STORE_TROUBLE = new Set(["STORE_UNREACHABLE", "STORE_DENIED"]);

/**
 * Restores the newest checkpoint that is accepted, whole and verified; a bad one is reported and the next older tried. When
 * nothing could be restored and some store could not be read, throws that store's error: worth trying again, not emptiness.
 */
export async function restoreCheckpoint(options: RestoreOptions): Promise<RestoreResult> {
  const { stores, signal } = options;
  const skipped: SkippedCheckpoint[] = [];
  let trouble: CairnError | undefined;
  const skip = (one: SkippedCheckpoint, from: CheckpointStore): void => {
    if (STORE_TROUBLE.has(one.error.code)) trouble ??= one.error;
    skipped.push(one);
    options.onSkipped?.(one, from);
  };
  await requireEmpty(options.targetDir);

  const candidates = findCandidates(stores, {
    ...(options.logId === undefined ? {} : { logId: options.logId }),
    ...(options.name === undefined ? {} : { name: options.name }),
    signal,
    onSkipped: skip,
    onUnreachable: ({ store, error }) => skip({ name: "", store: store.location, error }, store),
  });
  const broken = new Set<CheckpointStore>();
  for await (const candidate of candidates) {
    signal?.throwIfAborted();
    const { name, manifest, store } = candidate;
    if (broken.has(store)) continue;
    const error =
      unreadable(candidate) ?? (await refusal(options, manifest)) ?? (await restoreOne(options, candidate));
    if (error === undefined) return { restored: { name, store: store.location, manifest }, skipped };
    if (STORE_TROUBLE.has(error.code)) broken.add(store);
    skip({ name, store: store.location, error }, store);
  }
  if (trouble !== undefined) throw trouble;
  return { restored: undefined, skipped };
}

async function refusal(options: RestoreOptions, manifest: Manifest): Promise<CairnError | undefined> {
  const answer = await options.accept(manifest);
  return answer === true ? undefined : answer;
}

/** Restores a candidate, or answers with why it could not be; throws what no other candidate would cure. */
async function restoreOne(options: RestoreOptions, candidate: Candidate): Promise<CairnError | undefined> {
  const { signal, clock = systemClock, retries = 3 } = options;
  const reservation =
    (options.reserveIn?.(candidate.store) ?? true)
      ? await reserveUnlessAborted(options, candidate, clock)
      : undefined;
  try {
    for (let tries = 0; ; tries++) {
      try {
        await fetchAndPlace(options, candidate);
        return undefined;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isCairnError(error) || !isAboutCandidate(error)) throw error;
        if (error.code !== "STORE_UNREACHABLE" || tries >= retries) return error;
        await clock.wait(FIRST_PAUSE_MS * 2 ** tries, signal);
        signal?.throwIfAborted();
      }
    }
  } finally {
    const released = reservation?.release();
    // A store that stopped answering must not hold up who stops restoring; the reservation expires.
    await Promise.race([released, ...(signal?.aborted === true ? [clock.wait(GIVEN_UP_AFTER_MS)] : [])]);
  }
}

async function reserveUnlessAborted(
  { node, signal }: RestoreOptions,
  { store, name }: Candidate,
  clock: Clock,
): Promise<Reservation> {
  const reserving = reserve(store, name, node, clock);
  try {
    return await unlessAborted(reserving, signal);
  } catch (error) {
    // One that is made all the same would be renewed for ever. That it cannot be, the thrower of this error need not hear.
    void reserving.then(
      (late) => late.release(),
      () => undefined,
    );
    throw error;
  }
}

async function fetchAndPlace(options: RestoreOptions, { name, manifest, store }: Candidate): Promise<void> {
  const { stagingDir, targetDir, signal, onProgress } = options;
  const dir = join(stagingDir, `restore-${randomBytes(4).toString("hex")}`);
  try {
    // After reserving: a sweep that did not see the reservation has removed the manifest by now.
    const published = await unlessAborted(store.read(checkpointFile(name, "manifest")), signal);
    if (published === undefined) throw sweptAway(name);
    const archive = await store.open(manifest.archive.name, signal === undefined ? {} : { signal });
    // It may fail before the unpacking listens; then that finds it failed.
    archive.on("error", () => undefined);
    const total = manifest.archive.bytes;
    await unpackArchive(archive, dir, manifest, {
      background: options.background ?? false,
      onProgress: (done) => onProgress?.({ name, done, total }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (options.verify !== undefined) {
      const flushed = await fileMarks(dir);
      await options.verify(dir, manifest);
      // Opening may have written to some of the files; to flush the hundreds that it only read would take its time.
      await syncChangedFiles(dir, flushed);
    }
    signal?.throwIfAborted();
    await place(dir, targetDir);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw diskError(error, stagingDir);
  }
}

async function place(dir: string, targetDir: string): Promise<void> {
  await makeFolder(dirname(targetDir));
  // Not on every system does a rename replace an empty directory.
  await removeEmpty(targetDir);
  // Nothing that could be opened has the target's name before this instant, and all of it after.
  await rename(dir, targetDir);
  await syncFolder(dirname(targetDir));
}

/** Whether the next older candidate may fare better. */
function isAboutCandidate({ code }: CairnError): boolean {
  return (
    code.startsWith("CHECKPOINT_") ||
    code.startsWith("INDEX_") ||
    code === "NOT_FOUND" ||
    STORE_TROUBLE.has(code)
  );
}

function unreadable({ name, manifest }: Candidate): CairnError | undefined {
  const { archive } = manifest.format;
  if (Object.values<string>(ARCHIVE_FORMATS).includes(archive)) return undefined;
  return new CairnError(
    "INDEX_VERSION",
    `${name} is of the archive format ${archive}, which this version cannot read.`,
    {
      hint: "It was written by another version of Cairn; run that version, or let this one begin anew.",
    },
  );
}

async function requireEmpty(dir: string): Promise<void> {
  if (await removeEmpty(dir)) return;
  throw new CairnError(
    "CONFLICT",
    `${dir} is not empty, and a checkpoint is only restored to a new directory.`,
    {
      hint: "Name another directory, or move this one away.",
    },
  );
}

/** Whether nothing is in the way any more; only an empty directory is removed. */
async function removeEmpty(dir: string): Promise<boolean> {
  try {
    await rmdir(dir);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return true;
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") return false;
    throw error;
  }
  return true;
}

function sweptAway(name: string): CairnError {
  return new CairnError("CHECKPOINT_NOT_FOUND", `${name} was removed while it was about to be restored.`, {
    hint: "A retention policy removed it; a newer one is there.",
  });
}
