import { CairnError, isCairnError } from "@cairn/kv";
import { decodeManifest } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import {
  CHECKPOINT_PREFIX,
  checkpointFile,
  newestFirst,
  parseCheckpointFile,
  parseCheckpointName,
} from "./checkpoint-name.ts";
import type { CheckpointName } from "./checkpoint-name.ts";
import type { CheckpointStore, StoredFile } from "./checkpoint-store.ts";
import { unlessAborted } from "../timing/unless-aborted.ts";

/** A checkpoint of a store: its manifest is there and its archive has the size that it says. */
export interface StoredCheckpoint {
  readonly name: string;
  readonly manifest: Manifest;
  /** Whether a verification of it succeeded once. */
  readonly verified: boolean;
}

/** A checkpoint that cannot be used, with why. */
export interface SkippedCheckpoint {
  readonly name: string;
  /** The location of the store that it lies in. */
  readonly store: string;
  readonly error: CairnError;
}

/** The files of one checkpoint, as listed. */
export interface CheckpointFiles {
  readonly name: string;
  readonly parsed: CheckpointName;
  readonly archive?: StoredFile;
  readonly manifest?: StoredFile;
  readonly verified?: StoredFile;
}

/** A checkpoint without its list of files, which may be long. */
export interface CheckpointListing extends Omit<Manifest, "files"> {
  readonly name: string;
  /** Files in the archive. */
  readonly fileCount: number;
  readonly verified: boolean;
}

/** What a store holds: the checkpoints newest first, and those that cannot be used. Foreign files are in neither. */
export interface CheckpointList {
  readonly checkpoints: readonly CheckpointListing[];
  readonly skipped: readonly SkippedCheckpoint[];
}

/** All checkpoints of `store`, of every log. Nothing that lies there makes it fail; only the store itself can (`STORE_*`), or `signal`, for which nobody waits for the store. */
export async function listCheckpoints(store: CheckpointStore, signal?: AbortSignal): Promise<CheckpointList> {
  const checkpoints: CheckpointListing[] = [];
  const skipped: SkippedCheckpoint[] = [];
  for await (const found of readCheckpoints(store, await checkpointFiles(store, signal), signal)) {
    if ("error" in found) {
      skipped.push(found);
      continue;
    }
    const { files, ...manifest } = found.manifest;
    checkpoints.push({ ...manifest, name: found.name, fileCount: files.length, verified: found.verified });
  }
  return { checkpoints, skipped };
}

/** The checkpoints' files in a store, newest first; those without a manifest too. */
export async function checkpointFiles(
  store: CheckpointStore,
  signal?: AbortSignal,
): Promise<CheckpointFiles[]> {
  const found = new Map<string, { name: string; parsed: CheckpointName } & Partial<CheckpointFiles>>();
  for (const file of await unlessAborted(store.list(CHECKPOINT_PREFIX), signal)) {
    const is = parseCheckpointFile(file.name);
    const parsed = is === undefined ? undefined : parseCheckpointName(is.checkpoint);
    if (is === undefined || parsed === undefined) continue;
    found.set(is.checkpoint, {
      ...(found.get(is.checkpoint) ?? { name: is.checkpoint, parsed }),
      [is.part]: file,
    });
  }
  return [...found.values()].toSorted((a, b) => newestFirst(a.parsed, b.parsed));
}

/** Reads the manifests of `listed` one after the other, so that a reader that found what it wants reads no more. */
export async function* readCheckpoints(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  signal?: AbortSignal,
): AsyncGenerator<StoredCheckpoint | SkippedCheckpoint, void, undefined> {
  for (const files of listed) {
    if (files.manifest === undefined) continue;
    const found = await unlessAborted(readCheckpoint(store, files), signal);
    if (found !== undefined) yield found;
  }
}

async function readCheckpoint(
  store: CheckpointStore,
  files: CheckpointFiles,
): Promise<StoredCheckpoint | SkippedCheckpoint | undefined> {
  const { name } = files;
  try {
    const manifest = await store.read(checkpointFile(name, "manifest"));
    // Gone since the listing: a sweep of another node removed it.
    if (manifest === undefined) return undefined;
    const checkpoint = {
      name,
      manifest: decodeManifest(name, manifest.text),
      verified: files.verified !== undefined,
    };
    const error = archiveFault(checkpoint, files.archive);
    return error === undefined ? checkpoint : { name, store: store.location, error };
  } catch (error) {
    // One file that may not be read is that checkpoint's trouble; a store that does not answer is everybody's.
    if (isCairnError(error, "CHECKPOINT_CORRUPT") || isCairnError(error, "STORE_DENIED")) {
      return { name, store: store.location, error };
    }
    throw error;
  }
}

function archiveFault(
  { name, manifest }: StoredCheckpoint,
  archive: StoredFile | undefined,
): CairnError | undefined {
  if (archive?.bytes === manifest.archive.bytes) return undefined;
  const has = archive === undefined ? "is missing" : `has ${archive.bytes} bytes`;
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `The archive of ${name} ${has}, and its manifest says ${manifest.archive.bytes}.`,
    {
      hint: "Something other than Cairn removed or changed it: look for life-cycle rules and unfinished copies.",
    },
  );
}
