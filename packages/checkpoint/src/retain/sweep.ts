import { type CairnError, isCairnError } from "@cairn/kv";
import { type CheckpointSource, isCurrentFormat } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { checkpointFile, type Manifest, parseCheckpointFile } from "../store/checkpoint.ts";
import { readLeases, settleUnfinished, unfinishedOf } from "../store/lease-record.ts";
import {
  checkpointFiles,
  type CheckpointFiles,
  readCheckpoints,
  type SkippedCheckpoint,
  type StoredCheckpoint,
} from "../store/list-checkpoints.ts";
import { readReservations } from "../store/reservations.ts";
import { readVerification } from "../store/verification.ts";
import { decideRetention, type RetainedCheckpoint, type RetentionPolicy } from "./retention.ts";

export interface SweepOptions {
  readonly store: CheckpointStore;
  readonly source: CheckpointSource;
  /** The policy applies only to checkpoints of this log. */
  readonly logId: string;
  readonly policy?: RetentionPolicy | undefined;
  /** How long an archive without a manifest is left alone after its last write (ms). Defaults to one hour. */
  readonly orphanGraceMs?: number;
}

/** The reason for a removal: the retention policy, a dead writer, or an expired reservation. */
export type SweepReason = "retention" | "leftover" | "expired";

/** A checkpoint that could not be removed is still complete, or has lost its manifest and is no longer listed. */
export interface SweepReport {
  /** `bytes` is the size of the removed archive, 0 if there was none. */
  readonly removed: readonly {
    readonly name: string;
    readonly reason: SweepReason;
    readonly because: string;
    readonly bytes: number;
  }[];
  readonly failed: readonly { readonly name: string; readonly error: CairnError }[];
}

const ORPHAN_GRACE_MS = 3_600_000;
const LEFTOVER = { reason: "leftover", because: "it has no manifest" } as const;
const UNFINISHED = { reason: "leftover", because: "its upload was never finished" } as const;
const EXPIRED = { reason: "expired", because: "it has expired" } as const;

/** Removes checkpoints that the retention policy does not keep, leftovers of dead writers, and expired reservations. */
export async function sweepStore(options: SweepOptions): Promise<SweepReport> {
  const { store } = options;
  const removed: SweepReport["removed"][number][] = [];
  const failed: { name: string; error: CairnError }[] = [];
  const listed = await checkpointFiles(store);
  const mayRemove = store.describe?.()?.canDelete !== false;
  const attempt = async (
    name: string,
    why: { readonly reason: SweepReason; readonly because: string },
    work: () => Promise<void>,
  ): Promise<void> => {
    // The missing permission has been reported; no further removal is attempted.
    if (!mayRemove) return;
    const bytes = listed.find((files) => files.name === name)?.archive?.bytes ?? 0;
    try {
      await work();
      removed.push({ name, ...why, bytes });
    } catch (error) {
      if (!isCairnError(error)) throw error;
      failed.push({ name, error });
    }
  };

  const { reserved, expired } = await readReservations(store);
  for (const { name, because } of await outdated(options, listed)) {
    if (!reserved.has(name))
      await attempt(name, { reason: "retention", because }, () => removeCheckpoint(store, name));
  }
  for (const name of await deadArchives(store, listed, options.orphanGraceMs)) {
    if (!reserved.has(name)) await attempt(name, LEFTOVER, () => removeLeftovers(store, name));
  }
  for (const name of expired) await attempt(name, EXPIRED, () => store.remove(name));
  for (const name of await tidyUploads(store, failed, options.orphanGraceMs)) {
    removed.push({ name, ...UNFINISHED, bytes: 0 });
  }
  return { removed, failed };
}

/** Aborts uploads of dead writers in stores that do not list them. Returns the names of their checkpoints. */
async function tidyUploads(
  store: CheckpointStore,
  failed: { name: string; error: CairnError }[],
  graceMs = ORPHAN_GRACE_MS,
): Promise<string[]> {
  if (store.tidy === undefined) return [];
  const leases = await readLeases(store);
  const live = leases.filter((lease) => lease.live).map(({ record }) => record.archive);
  // A node may be uploading an archive that its lease does not name.
  if (live.includes(undefined)) return [];
  const isDead = (name: string): boolean =>
    parseCheckpointFile(name)?.part === "archive" && !live.includes(name);
  // The holder of a lease that has ended will not publish anything, however recently its upload began.
  const ended = leases.filter((lease) => !lease.live && unfinishedOf(lease.record).length > 0);
  const unfinished = ended.flatMap(({ record }) => unfinishedOf(record)).filter(isDead);
  try {
    const names = await store.tidy({ before: (await store.now()) - graceMs, isDead, unfinished });
    for (const { file } of ended) await settleUnfinished(store, file, unfinished);
    return names.map((name) => parseCheckpointFile(name)?.checkpoint ?? name);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    failed.push({ name: "unfinished uploads", error });
    return [];
  }
}

/** Removes a checkpoint in such an order that it is never listed while incomplete. */
export async function removeCheckpoint(store: CheckpointStore, name: string): Promise<void> {
  // The manifest is removed first, so that a reader that still finds it can rely on the archive.
  await store.remove(checkpointFile(name, "manifest"));
  // A restore creates its reservation before it reads the manifest again: it either finds the manifest missing, or its
  // reservation is visible here and keeps the archive.
  if ((await readReservations(store)).reserved.has(name)) return;
  await removeLeftovers(store, name);
}

/** Removes the archive and the marks of a checkpoint that has no manifest. */
export async function removeLeftovers(store: CheckpointStore, name: string): Promise<void> {
  await store.remove(checkpointFile(name, "verified"));
  await store.remove(checkpointFile(name, "damaged"));
  await store.remove(checkpointFile(name, "archive"));
}

async function outdated(
  { store, source, logId, policy }: SweepOptions,
  listed: readonly CheckpointFiles[],
): Promise<{ name: string; because: string }[]> {
  if (policy === undefined) return [];
  // Checkpoints of a lost history are neither counted nor removed here; `prune` removes them on request.
  const { own } = await ownCheckpoints(readCheckpoints(store, listed), {
    store,
    logId,
    format: source.format,
    agrees: async (manifest, name) => (await source.agrees?.(manifest, name)) ?? true,
  });
  return decideRetention(own, policy, await store.now()).filter(({ keep }) => !keep);
}

/**
 * Returns the names of checkpoints whose archives have no manifest, have not been written to for `graceMs` (default: an
 * hour), and are not being uploaded.
 */
export async function deadArchives(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  graceMs = ORPHAN_GRACE_MS,
): Promise<string[]> {
  const candidates = listed.filter((files) => files.manifest === undefined);
  if (candidates.length === 0) return [];
  const before = (await store.now()) - graceMs;
  const uploading = (await readLeases(store)).flatMap(({ live, record }) => (live ? [record.archive] : []));
  return candidates
    .filter(({ name, archive, verified, damaged }) => {
      const modifiedAt = Math.max(...[archive, verified, damaged].map((file) => file?.modifiedAt ?? 0));
      return modifiedAt < before && !uploading.includes(checkpointFile(name, "archive"));
    })
    .map(({ name }) => name);
}

/** The criteria by which {@link ownCheckpoints} recognizes the checkpoints of a log. */
interface OwnLog {
  readonly store: CheckpointStore;
  readonly logId: string | undefined;
  readonly format: CheckpointSource["format"];
  /** As in {@link CheckpointSource}; undefined if the log was not consulted, in which case every history counts. */
  readonly agrees: ((manifest: Manifest, name: string) => Promise<boolean>) | undefined;
}

/**
 * Returns a log's checkpoints among `found` (newest first), and the names of those whose history it lost. Each records
 * its history at the ends of older ones, so a lost history is recognized even after trimming.
 */
export async function ownCheckpoints(
  found: AsyncIterable<StoredCheckpoint | SkippedCheckpoint> | Iterable<StoredCheckpoint>,
  { store, logId, format, agrees }: OwnLog,
): Promise<{ readonly own: RetainedCheckpoint[]; readonly lost: string[] }> {
  const own: RetainedCheckpoint[] = [];
  const lost: string[] = [];
  /** The values of the history chain in the checkpoints that count, by transaction. */
  const known = new Map<number, string>();
  for await (const checkpoint of found) {
    if ("error" in checkpoint || checkpoint.manifest.log.id !== logId) continue;
    const { name, manifest } = checkpoint;
    const { chains } = manifest;
    const contradicts = chains.some(({ txId, history }) => (known.get(txId) ?? history) !== history);
    if (agrees !== undefined && (contradicts || !(await agrees(manifest, name)))) {
      lost.push(name);
      continue;
    }
    for (const { txId, history } of chains) known.set(txId, history);
    const verified = checkpoint.verified && (await readVerification(store, name, manifest)) !== undefined;
    const current = isCurrentFormat(format, manifest);
    const { damaged } = checkpoint;
    own.push({ name, takenAt: Date.parse(manifest.takenAt), current, verified, damaged });
  }
  return { own, lost };
}
