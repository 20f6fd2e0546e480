import { isCairnError } from "@cairn/kv";
import type { CairnError } from "@cairn/kv";
import { checkpointFile, parseCheckpointFile } from "../store/checkpoint-name.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import { isCurrent } from "../store/checkpoint-source.ts";
import { readLeases, settleUnfinished, unfinishedOf } from "../store/lease-record.ts";
import { checkpointFiles, readCheckpoints } from "../store/list-checkpoints.ts";
import type { CheckpointFiles } from "../store/list-checkpoints.ts";
import { readReservations } from "../store/reservations.ts";
import { decideRetention, type RetentionPolicy } from "./retention.ts";
import { OtherHistories } from "./other-histories.ts";
import { readVerification } from "../store/verification.ts";

/** What to sweep. */
export interface SweepOptions {
  readonly store: CheckpointStore;
  readonly source: CheckpointSource;
  /** Only checkpoints of this log are removed. */
  readonly logId: string;
  readonly policy?: RetentionPolicy;
  /** How old an archive without a manifest must be before its writer counts as dead; an hour when left out. */
  readonly orphanGraceMs?: number;
}

/** Why a sweep removes something: the retention policy, a writer that died, a reservation that expired. */
export type SweepReason = "retention" | "leftover" | "expired";

/** What a sweep did. Checkpoints that failed to go stay whole, or have lost their manifest and no longer list. */
export interface SweepReport {
  /** `bytes` is the size of the archive that went, 0 where there was none. */
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

/** Removes what the retention policy no longer wants, and what dead writers left behind. */
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
    // What these credentials may not remove was said once, and is left alone.
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

/** Ends the uploads of dead writers where they do not list; the names of their checkpoints. */
async function tidyUploads(
  store: CheckpointStore,
  failed: { name: string; error: CairnError }[],
  graceMs = ORPHAN_GRACE_MS,
): Promise<string[]> {
  if (store.tidy === undefined) return [];
  const leases = await readLeases(store);
  const live = leases.filter((lease) => lease.live).map(({ record }) => record.archive);
  // Somebody is uploading, and does not say what.
  if (live.includes(undefined)) return [];
  const isDead = (name: string): boolean =>
    parseCheckpointFile(name)?.part === "archive" && !live.includes(name);
  // Whoever held a lease that has ended publishes nothing any more, however lately the upload began.
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

/** Removes a checkpoint, so that it never lists without being whole. */
export async function removeCheckpoint(store: CheckpointStore, name: string): Promise<void> {
  // Unpublished first: a reader that still finds the manifest can rely on the archive.
  await store.remove(checkpointFile(name, "manifest"));
  // A restore reserves and then looks for the manifest again. So either it saw the manifest gone, or its
  // reservation is here now and the archive stays until that ends.
  if ((await readReservations(store)).reserved.has(name)) return;
  await removeLeftovers(store, name);
}

/** Removes the archive and the mark of a checkpoint that has no manifest. */
export async function removeLeftovers(store: CheckpointStore, name: string): Promise<void> {
  await store.remove(checkpointFile(name, "verified"));
  await store.remove(checkpointFile(name, "archive"));
}

async function outdated(
  { store, source, logId, policy }: SweepOptions,
  listed: readonly CheckpointFiles[],
): Promise<{ name: string; because: string }[]> {
  if (policy === undefined) return [];
  const own = [];
  const others = new OtherHistories();
  // The newest first.
  for await (const found of readCheckpoints(store, listed)) {
    if ("error" in found || found.manifest.log.id !== logId) continue;
    const { name, manifest } = found;
    // What the log no longer holds is another history: neither counted nor removed without being asked to.
    if (others.contradict(manifest)) continue;
    if (source.agrees !== undefined && !(await source.agrees(manifest, name))) continue;
    others.trust(manifest);
    const verified = found.verified && (await readVerification(store, name, manifest.archive)) !== undefined;
    own.push({ name, takenAt: Date.parse(manifest.takenAt), current: isCurrent(source, manifest), verified });
  }
  return decideRetention(own, policy, await store.now()).filter(({ keep }) => !keep);
}

/** The names of what lies without a manifest, has not been written to for `graceMs` (an hour when left out), and is not being uploaded. */
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
    .filter(({ name, archive, verified }) => {
      const modifiedAt = Math.max(archive?.modifiedAt ?? 0, verified?.modifiedAt ?? 0);
      return modifiedAt < before && !uploading.includes(checkpointFile(name, "archive"));
    })
    .map(({ name }) => name);
}
