import { createHash, randomBytes } from "node:crypto";
import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import {
  CairnError,
  diskError,
  isCairnError,
  LEVEL_FORMAT,
  makeFolder,
  removeFolder,
  backoffMs,
  type Clock,
  systemClock,
  unlessFailed,
} from "@cairn/kv";
import { packDirectory } from "../archive/pack/pack.ts";
import { removeCheckpoint } from "../retain/prune.ts";
import { ARCHIVE_FORMATS } from "../store/archive-format.ts";
import {
  checkpointFile,
  formatCheckpointName,
  type CapturedState,
  type Manifest,
} from "../store/checkpoint.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { type CheckpointFiles, checkpointFiles, type StoredCheckpoint } from "../store/list-checkpoints.ts";
import { sealManifest } from "../store/sealed-manifest.ts";
import type { RoundStep } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import type { Lease } from "./lease.ts";
import { uploadTime } from "./schedule.ts";

export interface SaveOptions {
  readonly source: CheckpointSource;
  readonly options: Pick<
    CheckpointerOptions,
    "store" | "approxFrequency" | "checkpointDir" | "captureOwner" | "compression" | "refreshAfter"
  >;
  /** Once this is aborted, nothing more is captured, uploaded or published. */
  readonly signal?: AbortSignal;
  /** Once this is aborted, the upload no longer yields to the other work of this process. */
  readonly hurry?: AbortSignal;
  readonly onStep?: (step: RoundStep, bytes: number) => void;
  readonly clock?: Clock;
  /** Defaults to {@link archivingOnDisk}. */
  readonly archiving?: Archiving | undefined;
}

/** A manifest records the history of its index at the transactions of at most this many others, newest first. */
const MAX_OTHER_CHECKPOINTS = 64;

// Pauses of 200, 400 and 800 ms, in addition to the retries of the store itself, suffice to determine whether a request
// succeeded although its response was lost.
const PUBLISH_TRIES = 4;
const PUBLISH_BACKOFF = { firstMs: 100, maxMs: 800 };

/**
 * Captures, packs, uploads and publishes a checkpoint under `lease`. After a failure, it is not listed, and a sweep
 * removes what remains. If the copy is damaged, throws `INDEX_CORRUPT`, and reports it to the source.
 */
export async function saveCheckpoint(
  take: SaveOptions,
  lease: Lease,
  signal: AbortSignal,
): Promise<StoredCheckpoint> {
  try {
    return await captureAndUpload(take, lease, signal);
  } catch (error) {
    // Errors from the store already have codes, so an error from the system must concern the capture.
    throw diskError(error, take.options.checkpointDir);
  }
}

async function captureAndUpload(
  take: SaveOptions,
  lease: Lease,
  signal: AbortSignal,
): Promise<StoredCheckpoint> {
  const { source, options, onStep, clock = systemClock, archiving = archivingOnDisk } = take;
  const { store, compression } = options;
  // The index may have been closed while the store was slow to respond.
  signal.throwIfAborted();
  onStep?.("capturing", 0);
  const beganAt = clock.now();
  const listed = await checkpointFiles(store, signal);
  signal.throwIfAborted();
  const others = listed.slice(0, MAX_OTHER_CHECKPOINTS).map(({ parsed }) => parsed.txId);
  const capture = await archiving.capture(options.checkpointDir, source, options.captureOwner, others);
  let name: string | undefined;
  try {
    signal.throwIfAborted();
    await source.check?.(capture.dir, damagedOnes(source, listed), signal);
    signal.throwIfAborted();
    onStep?.("uploading", 0);
    const takenAt = await store.now();
    name = formatCheckpointName({
      txId: capture.state.txId,
      takenAt,
      suffix: randomBytes(4).toString("hex"),
    });
    const archive = checkpointFile(name, "archive");
    lease.note({ archive, bytes: 0 });
    // Unlisted unfinished uploads can be found only by name, so the name must be stored before the upload begins.
    if (store.tidy !== undefined) await lease.confirm();
    const packing = await archiving.pack(capture.dir, {
      compression,
      recipients: store.encryption?.recipients,
      tables: capture.state.format.kv === LEVEL_FORMAT,
      withinMs: uploadTime(options.approxFrequency),
      hurry: take.hurry,
      onProgress: (bytes) => {
        lease.note({ bytes });
        onStep?.("uploading", bytes);
      },
    });
    const { expectedBytes, direct } = packing;
    // A store in S3 holds megabytes in memory, which may take a slow network many minutes.
    const onSent = (): void => lease.note({});
    const uploaded = await store.upload(archive, packing.archive, { signal, expectedBytes, direct, onSent });
    lease.settle();
    const packed = packing.result();
    if (uploaded.bytes !== packed.bytes) {
      const message = `The store kept ${uploaded.bytes} of the ${packed.bytes} bytes of ${archive}.`;
      const hint =
        "Nothing was published. If this happens again, replace the store: it does not preserve the data written to it.";
      throw new CairnError("CHECKPOINT_INCOMPLETE", message, hint);
    }
    onStep?.("publishing", packed.bytes);
    const times = { takenAt, durationMs: Math.max(0, Math.round(clock.now() - beganAt)) };
    const manifest = manifestOf(take, capture.state, times, { ...packed, name: archive });
    const { text, sha256 } = await sealManifest(name, manifest, store.encryption);
    // A process that was suspended for longer than the lease must not publish in addition to its successor.
    await lease.confirm();
    signal.throwIfAborted();
    await publishManifest(store, checkpointFile(name, "manifest"), text, clock, () => lease.confirm());
    return { name, manifest: { ...manifest, sha256 }, verified: false, damaged: false };
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT")) source.onDamage?.(error);
    if (name !== undefined) {
      await unpublish(store, name, error);
      const unfinished = [checkpointFile(name, "archive")];
      const tidied = store.tidy?.({ before: 0, isDead: () => false, unfinished });
      if (tidied === undefined || (await unlessFailed(tidied, "any", false)) !== false) lease.settle();
    }
    throw error;
  } finally {
    await capture.drop();
  }
}

function damagedOnes({ isDamaged }: CheckpointSource, listed: readonly CheckpointFiles[]): string[] {
  return listed
    .filter(({ name, damaged }) => damaged !== undefined || isDamaged?.(name) === true)
    .map(({ name }) => name);
}

function manifestOf(
  { source, options }: SaveOptions,
  state: CapturedState,
  { takenAt, durationMs }: { readonly takenAt: number; readonly durationMs: number },
  { files, ...archive }: Manifest["archive"] & Pick<Manifest, "files">,
): Manifest {
  const { compression, store } = options;
  return {
    format: {
      ...state.format,
      archive:
        ARCHIVE_FORMATS[store.encryption === undefined ? compression : (`encrypted-${compression}` as const)],
    },
    log: state.log,
    txId: state.txId,
    txTime: state.txTime,
    anchor: state.anchor,
    chains: state.chains,
    unshown: state.unshown,
    purged: state.purged,
    takenAt: new Date(takenAt).toISOString(),
    durationMs,
    node: source.node,
    archive,
    files,
    documents: state.documents,
    version: source.version,
  };
}

/**
 * Writes a manifest, which makes its archive a checkpoint. Retries if the response was lost; before each retry,
 * `confirm` throws if another node may have taken over. Throws `CONFLICT` if the name belongs to another manifest.
 */
export async function publishManifest(
  store: CheckpointStore,
  file: string,
  text: string,
  clock: Clock,
  confirm: () => Promise<void>,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      if (tries > 1) {
        if ((await store.read(file))?.text === text) return;
        await confirm();
      }
      if (await store.create(file, text)) return;
      // An earlier attempt may have succeeded even though its response was lost.
      if ((await store.read(file))?.text === text) return;
      throw new CairnError(
        "CONFLICT",
        `${file} is already in ${store.location}.`,
        "Wait for the next round, which chooses a new name. Another process wrote a file under the same random name.",
      );
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE") || tries === PUBLISH_TRIES) throw error;
      await clock.wait(backoffMs(tries, PUBLISH_BACKOFF));
    }
  }
}

/** Removes the files of a round that failed with `reason`, unless a node restores or has verified the checkpoint. */
async function unpublish(store: CheckpointStore, name: string, reason: unknown): Promise<void> {
  try {
    // If only the response was lost, the manifest exists, and other nodes may already rely on it.
    await removeCheckpoint(store, name);
  } catch (error) {
    // If the store fails again, an archive without a manifest remains, which a later sweep removes.
    if (!isCairnError(error))
      throw new AggregateError([reason, error], "A failed checkpoint could not be cleaned up.", {
        cause: error,
      });
  }
}

/**
 * Captures the index into a new folder of `owner` below `checkpointDir`; removes the folder after a failure. The caller
 * drops it: otherwise, its links would occupy space that the index has freed.
 */
async function captureTo(
  checkpointDir: string,
  source: CheckpointSource,
  owner = source.node,
  others: readonly number[] = [],
): Promise<{ readonly dir: string; readonly state: CapturedState; drop(): Promise<void> }> {
  const dir = join(checkpointDir, prefixOf(owner) + randomBytes(4).toString("hex"));
  const drop = (): Promise<void> => removeFolder(dir);
  try {
    await makeFolder(checkpointDir);
    return { dir, state: await source.capture(dir, others), drop };
  } catch (error) {
    await drop();
    throw diskError(error, checkpointDir);
  }
}

/** The capture directory of `owner`. The first `make` removes captures left by earlier processes of this owner. */
function captureDirectory(path: string, owner: string) {
  let made = false;
  let tidied = false;
  return {
    async make(): Promise<void> {
      try {
        if ((await makeFolder(path)) !== undefined) made = true;
        // Captures of other owners in the same directory may be in use.
        const left = tidied ? [] : (await readdir(path)).filter((name) => name.startsWith(prefixOf(owner)));
        for (const name of left) await removeFolder(join(path, name));
      } catch (error) {
        throw diskError(error, path);
      }
      tidied = true;
    },
    /** Removes the directory if this object created it and it is empty. */
    async drop(): Promise<void> {
      if (!made) return;
      const kept = ["ENOTEMPTY", "EEXIST", "ENOENT"] as const;
      made = (await unlessFailed(rmdir(path), kept, true)) === true;
    },
  };
}

/** The prefix has a hash of the owner, which may contain characters that are invalid in a folder's name. */
function prefixOf(owner: string): string {
  return `capture-${createHash("sha256").update(owner).digest("hex").slice(0, 12)}-`;
}

/** This is an interface because the simulation of many nodes does not copy anything to a disk. */
export interface Archiving {
  readonly directory: typeof captureDirectory;
  readonly capture: typeof captureTo;
  readonly pack: typeof packDirectory;
}

export const archivingOnDisk: Archiving = {
  directory: captureDirectory,
  capture: captureTo,
  pack: packDirectory,
};
