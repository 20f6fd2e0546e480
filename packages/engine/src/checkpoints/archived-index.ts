import {
  type ArchivedFiles,
  type CheckpointStore,
  openArchive,
  type StoredManifest,
} from "@cairn/checkpoint";
import { CairnError, isCairnError, LEVEL_FORMAT, openRanged, type RangedFiles } from "@cairn/kv";
import { IndexStore } from "../index/index-store.ts";
import { judgeFormat } from "./accept-checkpoint.ts";

/** The index in a checkpoint, which is read where it is. */
export interface ArchivedIndex {
  readonly index: IndexStore;
  readonly files: ArchivedFiles;
  /** Resolves once no read is running. */
  idle(): Promise<void>;
  /** Ends all reads. */
  close(): Promise<void>;
}

export interface ArchivedIndexOptions {
  readonly signal?: AbortSignal | undefined;
  /** Reads a part of a file elsewhere, given where the file ends in the archive; undefined if it is only there. */
  readonly readLocal?: (
    fileEnd: number,
    ...part: Parameters<RangedFiles["read"]>
  ) => Promise<Buffer | undefined>;
}

/**
 * Opens the index in a checkpoint without downloading it. Throws `CHECKPOINT_CORRUPT` if it does not match its manifest,
 * and as {@link openArchive} does.
 */
export async function openArchivedIndex(
  store: CheckpointStore,
  { name, manifest }: { readonly name: string; readonly manifest: StoredManifest },
  { signal, readLocal }: ArchivedIndexOptions = {},
): Promise<ArchivedIndex> {
  const foreign = judgeFormat(manifest, LEVEL_FORMAT);
  if (foreign !== undefined) throw foreign;
  const files = await openArchive(store, name, manifest, signal);
  try {
    const read: RangedFiles["read"] = async (...part) =>
      (await readLocal?.(files.endOf(part[0]) ?? Infinity, ...part)) ?? (await files.read(...part));
    const whole = async (file: string): Promise<Buffer> => await files.whole(file);
    const kv = await openRanged({ place: name, sizes: files.sizes, whole, read });
    const index = await IndexStore.openReadOnly(kv);
    const { txId, sha256, log } = index.state;
    const { anchor } = manifest;
    if (txId !== anchor.txId || sha256 !== anchor.sha256 || log.id !== manifest.log.id)
      throw damagedCheckpoint(name, "its index does not match its manifest");
    const close = async (): Promise<void> => {
      await kv.close();
      await files.close();
    };
    return { index, files, idle: async () => await kv.idle(), close };
  } catch (error) {
    await files.close();
    throw asCheckpointError(name, error);
  }
}

/** Returns the error of a read of a checkpoint: `CHECKPOINT_CORRUPT` for damage to its index. */
export function asCheckpointError(name: string, error: unknown): unknown {
  if (isCairnError(error, "INDEX_CORRUPT")) return damagedCheckpoint(name, error.message, error);
  if (!isCairnError(error, "NOT_READY")) return error;
  // It was closed, or a field was being built. Neither will change.
  const hint = "Open it again, or use another checkpoint.";
  return new CairnError("LOG_READ_ONLY", error.message, { hint, cause: error });
}

function damagedCheckpoint(name: string, why: string, cause?: unknown): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `The checkpoint ${name} is damaged: ${why.replace(/\.$/, "")}.`,
    {
      hint: "Use an older one. cairn checkpoint verify marks this one as damaged.",
      cause,
    },
  );
}
