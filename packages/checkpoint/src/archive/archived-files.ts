import { createHash } from "node:crypto";
import { CairnError, isCairnError, type RangedFiles, Semaphore, unlessAborted } from "@cairn/kv";
import { AgeError } from "../encryption/age-header.ts";
import { openAgeRanges, type ReadRange } from "../encryption/age-payload.ts";
import { archivePacking } from "../store/archive-format.ts";
import type { Manifest } from "../store/checkpoint.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { archiveSize, BLOCK, paddingOf } from "./tar-format.ts";
import { corruptArchive } from "./archive-errors.ts";

/** The files in the archive of a checkpoint, which are read where they are. */
export interface ArchivedFiles extends RangedFiles {
  readonly counts: { readonly requests: number; readonly bytes: number };
  /** The place in the archive at which a file ends; undefined for an unknown file. */
  endOf(name: string): number | undefined;
  close(): Promise<void>;
}

/** The maximum number of concurrent requests. More would not be faster over a link with a delay of 20 ms. */
const PARALLEL_READS = 32;
/** The size of a file that is read as a whole, in bytes: several times that of LevelDB's largest log and manifest. */
const MAX_WHOLE_BYTES = 128 << 20;
/** The size of a request for a part of a large file, in bytes. */
const PART_BYTES = 4 << 20;

/**
 * Opens the archive of a checkpoint, of which only parts are then read. Throws `REQUEST_INVALID` if the archive is
 * compressed or the store cannot read ranges, `NOT_FOUND`, `CHECKPOINT_CORRUPT` and the errors of the store. Files that
 * are read as a whole are compared with their digests; of others, the caller must be able to detect damage.
 */
export async function openArchive(
  store: CheckpointStore,
  name: string,
  manifest: Manifest,
  signal?: AbortSignal,
): Promise<ArchivedFiles> {
  const { compression, encrypted } = archivePacking(manifest);
  if (compression !== "none") throw onlyWhole(name, "its archive is compressed");
  if (store.openRanges === undefined) throw onlyWhole(name, "its store cannot read parts of files");
  const ranges = await store.openRanges(manifest.archive.name).catch(removed);
  const counts = { requests: 0, bytes: 0 };
  const turns = new Semaphore(PARALLEL_READS);
  const readArchive: ReadRange = async (start, end) =>
    await turns.run(async () => {
      counts.requests += 1;
      counts.bytes += end - start;
      return await unlessAborted(ranges.read(start, end, signal), signal).catch(removed);
    });
  try {
    const { identities = [] } = store.encryption ?? {};
    const opening = encrypted && openAgeRanges(readArchive, manifest.archive.bytes, identities);
    const age = opening === false ? undefined : await opening.catch(explain(manifest));
    const bytes = age?.bytes ?? manifest.archive.bytes;
    if (bytes !== archiveSize(manifest.files))
      throw corruptArchive(manifest, "its size is not that of its files");
    const read: ReadRange = async (start, end) =>
      age === undefined ? await readArchive(start, end) : await age.read(start, end).catch(explain(manifest));
    return { ...filesOf(name, manifest, read), counts, close: async () => await ranges.close() };
  } catch (error) {
    await ranges.close();
    throw error;
  }
}

function onlyWhole(name: string, why: string): CairnError {
  const hint =
    "Restore it (cairn checkpoint restore), and read what was restored (cairn db get). Or save checkpoints without compression in a folder or S3.";
  return new CairnError("REQUEST_INVALID", `${name} can only be read as a whole: ${why}.`, hint);
}

function explain(manifest: Manifest): (error: unknown) => never {
  return (error) => {
    throw error instanceof AgeError ? corruptArchive(manifest, error.message, error) : error;
  };
}

function removed(error: unknown): never {
  if (!isCairnError(error, "NOT_FOUND")) throw error;
  const message = `The checkpoint was removed while it was read: ${error.message}`;
  const hint = "Read a newer one: a retention policy has removed this one.";
  throw new CairnError("CHECKPOINT_NOT_FOUND", message, { hint, cause: error });
}

function filesOf(
  name: string,
  manifest: Manifest,
  readArchive: ReadRange,
): Omit<ArchivedFiles, "counts" | "close"> {
  const files = new Map(manifest.files.map((file) => [file.name, file]));
  /** The places in the archive at which the files begin, which follow from their names and sizes. */
  const starts = new Map<string, number>();
  let end = 0;
  for (const file of manifest.files) {
    starts.set(file.name, end + BLOCK);
    end += BLOCK + file.bytes + paddingOf(file.bytes);
  }
  const read: ArchivedFiles["read"] = async (file, from, to) => {
    const start = starts.get(file);
    if (start === undefined) throw corruptArchive(manifest, `it lacks ${file}`);
    return await readArchive(start + from, start + to);
  };
  return {
    place: name,
    sizes: new Map(manifest.files.map((file) => [file.name, file.bytes])),
    endOf(file) {
      const start = starts.get(file);
      return start === undefined ? undefined : start + (files.get(file)?.bytes ?? 0);
    },
    read,
    async whole(file) {
      const found = files.get(file);
      if (found === undefined) throw corruptArchive(manifest, `it lacks ${file}`);
      const { bytes, sha256 } = found;
      if (bytes > MAX_WHOLE_BYTES) throw onlyWhole(name, `${file} in it has ${bytes} bytes`);
      const parts: Promise<Buffer>[] = [];
      for (let at = 0; at < bytes; at += PART_BYTES)
        parts.push(read(file, at, Math.min(at + PART_BYTES, bytes)));
      const content = Buffer.concat(await Promise.all(parts));
      if (createHash("sha256").update(content).digest("hex") === sha256) return content;
      throw corruptArchive(manifest, `the SHA-256 of ${file} does not match`);
    },
  };
}
