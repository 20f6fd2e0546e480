import { CairnError, isCairnError, unlessAborted } from "@cairn/kv";
import { type CheckpointSource, isRestorable } from "./checkpoint-source.ts";
import type { CheckpointStore, StoredFile } from "./checkpoint-store.ts";
import {
  CHECKPOINT_PREFIX,
  checkpointFile,
  type CheckpointName,
  decodeManifest,
  newestFirst,
  parseCheckpointFile,
  parseCheckpointName,
  type StoredManifest,
} from "./checkpoint.ts";
import { openManifest } from "./sealed-manifest.ts";
import { sealedLogId } from "./sealed-text.ts";

/** A checkpoint in a store. It has a manifest, and its archive has the size that the manifest gives. */
export interface StoredCheckpoint {
  readonly name: string;
  readonly manifest: StoredManifest;
  /** Whether it has a mark of verification and no mark of damage. */
  readonly verified: boolean;
  /** Whether it has a mark of damage. Neither its manifest nor the size of its archive shows such damage. */
  readonly damaged: boolean;
}

export interface SkippedCheckpoint {
  readonly name: string;
  readonly store: string;
  readonly error: CairnError;
  /** The id of its log, if its manifest shows it. Without the key of an encrypted one, it is not authenticated. */
  readonly logId?: string | undefined;
  /** The name of its log, if its manifest shows it. An encrypted one shows it only with a key. */
  readonly logName?: string | undefined;
}

export interface CheckpointFiles {
  readonly name: string;
  readonly parsed: CheckpointName;
  readonly archive?: StoredFile;
  readonly manifest?: StoredFile;
  readonly verified?: StoredFile;
  readonly damaged?: StoredFile;
}

/** A checkpoint without its list of files, which can be long. */
export interface CheckpointListing extends Omit<StoredManifest, "files"> {
  readonly name: string;
  readonly fileCount: number;
  readonly verified: boolean;
  readonly damaged: boolean;
}

/** The checkpoints are newest first. No list contains foreign files. */
export interface CheckpointList {
  readonly checkpoints: readonly CheckpointListing[];
  readonly skipped: readonly SkippedCheckpoint[];
  /** The names of archives without a manifest: they are being written, or their writers have died. */
  readonly incomplete: readonly string[];
}

/** No content of the store makes it fail. Throws the store's errors (`STORE_*`) and the reason of `signal`. */
export async function listCheckpoints(store: CheckpointStore, signal?: AbortSignal): Promise<CheckpointList> {
  return await readListings(store, await checkpointFiles(store, signal), signal);
}

export async function readListings(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  signal?: AbortSignal,
): Promise<CheckpointList> {
  const checkpoints: CheckpointListing[] = [];
  const skipped: SkippedCheckpoint[] = [];
  for await (const found of readCheckpoints(store, listed, signal)) {
    if ("error" in found) skipped.push(found);
    else checkpoints.push(listingOf(found));
  }
  const incomplete = listed.filter(
    ({ archive, manifest }) => archive !== undefined && manifest === undefined,
  );
  return { checkpoints, skipped, incomplete: incomplete.map(({ name }) => name) };
}

export function listingOf({ manifest, ...checkpoint }: StoredCheckpoint): CheckpointListing {
  const { files, ...rest } = manifest;
  return { ...rest, ...checkpoint, fileCount: files.length };
}

/** Lists the files of all checkpoints in a store, newest first, including those without a manifest. */
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

/** Returns the newest checkpoint of a log that nodes with this source can restore, as far as is known. */
export async function findNewest(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  source: CheckpointSource,
  logId: string,
): Promise<StoredCheckpoint | undefined> {
  for await (const found of readCheckpoints(store, listed)) {
    if ("error" in found) {
      // A node without the keys of its cluster would otherwise save next to the others' checkpoints, perhaps in plain.
      if (isKeyMissing(found, logId)) throw found.error;
      continue;
    }
    if (found.manifest.log.id !== logId) continue;
    if (!isRestorable(source, found.manifest)) continue;
    // If a damaged checkpoint counted as the newest, it would not be replaced before the next write.
    if (found.damaged || source.isDamaged?.(found.name) === true) continue;
    if (source.agrees === undefined || (await source.agrees(found.manifest, found.name))) return found;
  }
  return undefined;
}

/** Reads the manifests of `listed` one after the other, on demand. */
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
  let text: string | undefined;
  try {
    text = (await store.read(checkpointFile(name, "manifest")))?.text;
    // A sweep by another node has removed the manifest since the listing.
    if (text === undefined) return undefined;
    const checkpoint = {
      name,
      manifest: await openManifest(name, text, store.encryption),
      verified: files.verified !== undefined && files.damaged === undefined,
      damaged: files.damaged !== undefined,
    };
    const error = archiveFault(checkpoint, files.archive);
    return error === undefined
      ? checkpoint
      : { name, store: store.location, error, ...logOf(checkpoint.manifest) };
  } catch (error) {
    // A single file without read permission affects one checkpoint; an unresponsive store affects all.
    if (!isCairnError(error) || !ONE_CHECKPOINT.has(error.code)) throw error;
    const skipped = { name, store: store.location, error };
    if (text === undefined) return skipped;
    if (error.code === "KEY_MISSING") return { ...skipped, logId: sealedLogId(text) };
    return error.code === "PLAIN_REFUSED" ? { ...skipped, ...logOf(decodeManifest(name, text)) } : skipped;
  }
}

type LogOfSkipped = Pick<SkippedCheckpoint, "logId" | "logName">;

function logOf({ log }: Pick<StoredManifest, "log">): LogOfSkipped {
  return { logId: log.id, logName: log.name };
}

const ONE_CHECKPOINT = new Set<string>([
  "CHECKPOINT_CORRUPT",
  "STORE_DENIED",
  "KEY_MISSING",
  "PLAIN_REFUSED",
]);

/** Returns whether a checkpoint of this log, or of any, was skipped because it is encrypted with other keys. */
export function isKeyMissing({ error, logId: of }: SkippedCheckpoint, logId: string | undefined): boolean {
  return error.code === "KEY_MISSING" && (logId === undefined || of === logId);
}

function archiveFault(
  { name, manifest }: StoredCheckpoint,
  archive: StoredFile | undefined,
): CairnError | undefined {
  if (archive?.bytes === manifest.archive.bytes) return undefined;
  const has = archive === undefined ? "is missing" : `has ${archive.bytes} bytes`;
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `The archive of ${name} ${has}, but its manifest records ${manifest.archive.bytes} bytes.`,
    "Check for life-cycle rules and unfinished copies: something other than Cairn removed or changed it.",
  );
}
