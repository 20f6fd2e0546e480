import { randomBytes } from "node:crypto";
import { readdir, rename, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  CairnError,
  diskError,
  isCairnError,
  makeFolder,
  removeFolder,
  syncFile,
  syncFolder,
  type Clock,
  systemClock,
  backoffMs,
  unlessAborted,
  unlessFailed,
  TIMED_OUT,
  withTimeout,
} from "@cairn/kv";
import { unpackArchive } from "../archive/unpack/unpack.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { isCurrentFormat } from "../store/checkpoint-source.ts";
import { checkpointFile, type Manifest, newestFirst, type StoredManifest } from "../store/checkpoint.ts";
import {
  checkpointFiles,
  type CheckpointFiles,
  isKeyMissing,
  readCheckpoints,
  type SkippedCheckpoint,
  type StoredCheckpoint,
} from "../store/list-checkpoints.ts";
import { whileReserved } from "../store/reservations.ts";

export interface Candidate extends StoredCheckpoint {
  readonly store: CheckpointStore;
}

export interface FindOptions {
  /** If it is given, only checkpoints of this log are found. Defaults to all logs. */
  readonly logId?: string | undefined;
  /** If it is given, only the checkpoint of this name is found, and no other manifest is read. */
  readonly name?: string | undefined;
  /** Whether those marked as damaged are found, after all others. Defaults to true. */
  readonly marked?: boolean | undefined;
  /** Called with each checkpoint that cannot be used or is marked as damaged, and its store. */
  readonly onSkipped?: ((skipped: SkippedCheckpoint, store: CheckpointStore) => void) | undefined;
  /** Called whenever a manifest was read, of which there may be thousands before one can be used. */
  readonly onRead?: (() => void) | undefined;
  /** Called with each unreadable store and its error, unless all stores are unreadable. */
  readonly onUnreachable?: (store: CheckpointStore, error: CairnError) => void;
  /** Once this is aborted, its reason is thrown immediately, without waiting for a store. */
  readonly signal?: AbortSignal | undefined;
  /** The time after which a store that does not answer counts as unreachable (ms). Defaults to no limit. */
  readonly answerMs?: number | undefined;
}

/** Listings that a store has not answered. Each may hold a thread of this process for ever, so there is one a store. */
const unanswered = new WeakMap<CheckpointStore, Promise<CheckpointFiles[]>>();

async function answeredListing(
  store: CheckpointStore,
  { signal, answerMs }: Pick<FindOptions, "signal" | "answerMs">,
): Promise<CheckpointFiles[]> {
  if (answerMs === undefined) return await checkpointFiles(store, signal);
  const listing =
    unanswered.get(store) ?? checkpointFiles(store).finally(() => void unanswered.delete(store));
  unanswered.set(store, listing);
  const found = await unlessAborted(withTimeout(listing, answerMs), signal);
  if (found !== TIMED_OUT) return found;
  throw new CairnError(
    "STORE_UNREACHABLE",
    `The checkpoint store ${store.location} has not answered within ${answerMs / 1_000} s.`,
    "Make sure that the service or the file system is running and can be reached. The node keeps trying.",
  );
}

/**
 * The only search for checkpoints to continue from. Yields the best first: the newest and, of equal ones, that of the
 * first store. One marked as damaged is yielded after all others, if at all, because the mark may be wrong. Manifests are
 * read on demand. A failing store is reported and skipped, but `SYSTEM_REFUSED` is thrown. If all stores fail, the first
 * `STORE_*` is thrown, so that unreachable stores never appear empty.
 */
export async function* findCandidates(
  stores: readonly CheckpointStore[],
  options: FindOptions = {},
): AsyncGenerator<Candidate, void, undefined> {
  const listed: { files: CheckpointFiles; store: CheckpointStore; rank: number }[] = [];
  const unreachable: [CheckpointStore, CairnError][] = [];
  for (const [rank, store] of stores.entries()) {
    try {
      for (const files of await answeredListing(store, options)) {
        if (options.name === undefined || options.name === files.name) listed.push({ files, store, rank });
      }
    } catch (error) {
      // A resource shortage in this process is not a failure of the store, and would affect the next store as well.
      if (!isCairnError(error) || error.code === "SYSTEM_REFUSED") throw error;
      unreachable.push([store, error]);
    }
  }
  const [first] = unreachable;
  if (first !== undefined && unreachable.length === stores.length) throw first[1];
  for (const [store, error] of unreachable) options.onUnreachable?.(store, error);

  // Stores that failed after they were listed. Reading from one again would probably end in another timeout.
  const lost = new Set<CheckpointStore>();
  const marked: Candidate[] = [];
  listed.sort((a, b) => newestFirst(a.files.parsed, b.files.parsed) || a.rank - b.rank);
  for (const { files, store } of listed) {
    if (lost.has(store)) continue;
    try {
      for await (const found of readCheckpoints(store, [files], options.signal)) {
        options.onRead?.();
        if ("error" in found) {
          options.onSkipped?.(found, store);
          continue;
        }
        const { name, manifest, damaged } = found;
        const { id: logId, name: logName } = manifest.log;
        const isOther = options.logId !== undefined && logId !== options.logId;
        if (!isOther && (!damaged || options.name !== undefined)) {
          yield { ...found, store };
          continue;
        }
        if (!isOther && options.marked !== false) marked.push({ ...found, store });
        const error = isOther
          ? new CairnError(
              "LOG_DIFFERENT",
              `${name} belongs to the log ${logName} (${logId}).`,
              "If the clusters should not share a store, give each one its own. The checkpoint is left untouched.",
            )
          : new CairnError(
              "CHECKPOINT_CORRUPT",
              `${name} is marked as damaged.`,
              "An older one or the log is used instead, if possible. If its files have been restored, run cairn checkpoint verify for it.",
            );
        options.onSkipped?.({ name, store: store.location, error, logId, logName }, store);
      }
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE")) throw error;
      lost.add(store);
      options.onUnreachable?.(store, error);
    }
  }
  for (const candidate of marked) if (!lost.has(candidate.store)) yield candidate;
}

/** The progress of a restore, in bytes of the archive. */
export interface RestoreProgress {
  readonly name: string;
  readonly done: number;
  readonly total: number;
  /** The folder in which the files are until they are complete. */
  readonly dir: string;
}

export interface RestoreOptions extends Omit<FindOptions, "onUnreachable"> {
  /** The stores. If two contain equal checkpoints, the earlier one is preferred. */
  readonly stores: readonly CheckpointStore[];
  /** Checkpoints are unpacked here. Must be on the same file system as `targetDir`; created if it does not exist. */
  readonly stagingDir: string;
  /** The folder to restore to. It must be empty or not exist. It appears completely or not at all. */
  readonly targetDir: string;
  /** This node's id, for the reservation. */
  readonly node: string;
  /** By default, a reservation may be written to every store. A restore writes nothing else to a store. */
  readonly reserveIn?: (store: CheckpointStore) => boolean;
  /** Returns true, or the reason why a candidate may not be used. If it throws, the restore ends with its error. */
  readonly accept: (manifest: Manifest) => Promise<true | CairnError>;
  /** Inspects the files before they are moved to `targetDir`. `CHECKPOINT_*` or `INDEX_*` skips the candidate. */
  readonly verify?: (dir: string, manifest: Manifest) => Promise<void>;
  /** Called with an accepted candidate before it is reserved, which takes a dozen requests in S3, and fetched. */
  readonly onAccepted?: (candidate: Candidate) => void;
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined;
  /** Whether all other work of the process has priority. Defaults to false. */
  readonly background?: boolean;
  /** The maximum number of times a candidate is retried while its store is unreachable. Defaults to 3. */
  readonly retries?: number;
  readonly clock?: Clock;
}

/** `restored` is undefined if no candidate could be restored; `skipped` lists the rejected ones, with the reasons. */
export interface RestoreResult {
  readonly restored:
    | { readonly name: string; readonly store: string; readonly manifest: StoredManifest }
    | undefined;
  readonly skipped: readonly SkippedCheckpoint[];
}

const RETRY_BACKOFF = { firstMs: 200, maxMs: 60_000 };
/** Not a candidate's fault: the store is not tried again, and the restore does not end as if there were none. */
const STORE_ERRORS = new Set(["STORE_UNREACHABLE", "STORE_DENIED"]);

/**
 * Restores the newest checkpoint that is accepted and passes verification. A bad one is reported, and the next older
 * one is tried. If nothing could be restored and a store could not be read, throws that store's error, so that the
 * caller tries again instead of assuming an empty store. Throws `CONFLICT` if `targetDir` is not empty.
 */
export async function restoreCheckpoint(options: RestoreOptions): Promise<RestoreResult> {
  const { stores, signal } = options;
  const skipped: SkippedCheckpoint[] = [];
  let storeError: CairnError | undefined;
  const skip = (one: SkippedCheckpoint, from: CheckpointStore): void => {
    // An older checkpoint would hide that this node lacks the keys of its cluster.
    if (isKeyMissing(one, options.logId)) throw one.error;
    if (STORE_ERRORS.has(one.error.code)) storeError ??= one.error;
    // What trying one that is marked as damaged has shown replaces the mark as the reason.
    const marked = skipped.findIndex(({ name, store }) => name === one.name && store === one.store);
    skipped.splice(marked < 0 ? skipped.length : marked, 1, one);
    options.onSkipped?.(one, from);
  };
  if (!(await removeEmpty(options.targetDir))) {
    const message = `${options.targetDir} is not empty. A checkpoint is restored only to a new directory.`;
    const hint = "Choose another directory, or move this one away.";
    throw new CairnError("CONFLICT", message, hint);
  }
  const candidates = findCandidates(stores, {
    ...options,
    onSkipped: skip,
    onUnreachable: (store, error) => skip({ name: "", store: store.location, error }, store),
  });
  const failed = new Set<CheckpointStore>();
  for await (const candidate of candidates) {
    signal?.throwIfAborted();
    const { name, manifest, store } = candidate;
    if (failed.has(store)) continue;
    const accepted = unreadable(candidate) ?? (await options.accept(manifest));
    const error = accepted === true ? await restoreOne(options, candidate) : accepted;
    if (error === undefined) {
      const others = skipped.filter((one) => one.name !== name || one.store !== store.location);
      return { restored: { name, store: store.location, manifest }, skipped: others };
    }
    if (STORE_ERRORS.has(error.code)) failed.add(store);
    skip({ name, store: store.location, error }, store);
  }
  if (storeError !== undefined) throw storeError;
  return { restored: undefined, skipped };
}

/** Returns the reason for a failure. Throws errors that would also affect any other candidate. */
async function restoreOne(options: RestoreOptions, candidate: Candidate): Promise<CairnError | undefined> {
  const { node, signal, clock = systemClock, retries = 3 } = options;
  const { store, name } = candidate;
  options.onAccepted?.(candidate);
  const tryIt = async (): Promise<CairnError | undefined> => {
    for (let tries = 0; ; tries++) {
      try {
        await fetchAndPlace(options, candidate);
        return undefined;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isCairnError(error) || !isAboutCandidate(error)) throw error;
        if (error.code !== "STORE_UNREACHABLE" || tries >= retries) return error;
        await clock.wait(backoffMs(tries, RETRY_BACKOFF), signal);
        signal?.throwIfAborted();
      }
    }
  };
  const isReserved = options.reserveIn?.(store) ?? true;
  return await (isReserved ? whileReserved({ store, name, node, clock, signal }, tryIt) : tryIt());
}

async function fetchAndPlace(options: RestoreOptions, { name, manifest, store }: Candidate): Promise<void> {
  const { stagingDir, targetDir, signal, onProgress } = options;
  const dir = join(stagingDir, `restore-${randomBytes(4).toString("hex")}`);
  try {
    // Read after the reservation: a sweep that did not find the reservation has removed the manifest by now.
    const published = await unlessAborted(store.read(checkpointFile(name, "manifest")), signal);
    if (published === undefined)
      throw new CairnError(
        "CHECKPOINT_NOT_FOUND",
        `${name} was removed just before it was restored.`,
        "Restore a newer checkpoint: a retention policy has removed this one.",
      );
    const opening = store.open(manifest.archive.name, { signal });
    const archive = await unlessAborted(opening, signal, (late) => {
      late.on("error", () => undefined);
      late.destroy();
    });
    // The stream may fail before unpacking listens for errors; unpacking then finds it destroyed.
    archive.on("error", () => undefined);
    const total = manifest.archive.bytes;
    await unpackArchive(archive, dir, manifest, {
      background: options.background ?? false,
      identities: store.encryption?.identities,
      onProgress: (done) => onProgress?.({ name, done, total, dir }),
      signal,
    });
    if (options.verify !== undefined) {
      const flushed = await fileMarks(dir);
      await options.verify(dir, manifest);
      // Opening the index may have written to some files. Flushing the hundreds that it only read would take too long.
      await syncChangedFiles(dir, flushed);
    }
    signal?.throwIfAborted();
    await makeFolder(dirname(targetDir));
    // Not every system permits a rename to replace an empty directory.
    await removeEmpty(targetDir);
    // Before the rename, nothing usable exists under the target's name; afterwards, everything does.
    await rename(dir, targetDir);
    await syncFolder(dirname(targetDir));
  } catch (error) {
    await removeFolder(dir);
    throw diskError(error, stagingDir);
  }
}

/** Returns whether the next older candidate may succeed. */
function isAboutCandidate({ code }: CairnError): boolean {
  return (
    code.startsWith("CHECKPOINT_") ||
    code.startsWith("INDEX_") ||
    code === "NOT_FOUND" ||
    STORE_ERRORS.has(code)
  );
}

function unreadable({ name, manifest }: Candidate): CairnError | undefined {
  if (isCurrentFormat(undefined, manifest)) return undefined;
  const message = `${name} has the archive format ${manifest.format.archive}, which this version cannot read.`;
  const hint = "Run the version of Cairn that wrote it, or let this one start again.";
  return new CairnError("INDEX_VERSION", message, hint);
}

/** Removes an empty directory. Returns whether the name is now free. */
async function removeEmpty(dir: string): Promise<boolean> {
  const removed = unlessFailed(rmdir(dir), "ENOENT", undefined);
  return (await unlessFailed(removed, ["ENOTEMPTY", "EEXIST", "ENOTDIR"], false)) !== false;
}

/** Maps each file of a folder to a value that changes with the file's content. */
export type FileMarks = ReadonlyMap<string, string>;

export async function fileMarks(folder: string): Promise<FileMarks> {
  const names = await readdir(folder);
  return new Map(
    await Promise.all(
      names.map(async (name): Promise<[string, string]> => {
        const { ino, size, mtimeNs, ctimeNs } = await stat(join(folder, name), { bigint: true });
        return [name, `${ino} ${size} ${mtimeNs} ${ctimeNs}`];
      }),
    ),
  );
}

/** Flushes the folder, and those of its files that have changed since they were flushed. */
export async function syncChangedFiles(folder: string, flushed: FileMarks): Promise<void> {
  for (const [name, mark] of await fileMarks(folder)) {
    if (flushed.get(name) !== mark) await syncFile(join(folder, name));
  }
  await syncFolder(folder);
}
