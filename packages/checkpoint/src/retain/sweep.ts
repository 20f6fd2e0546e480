import { type CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { parseCheckpointFile } from "../store/checkpoint.ts";
import { readLeases, settleUnfinished, unfinishedOf } from "../store/lease-record.ts";
import { ORPHAN_GRACE_MS, planPrune, prune, type PruneEntry, type PruneOptions } from "./prune.ts";
import type { RetentionPolicy } from "./retention.ts";

export interface SweepOptions {
  readonly store: CheckpointStore;
  readonly source: CheckpointSource;
  /** The policy applies only to checkpoints of this log. */
  readonly logId: string;
  readonly policy?: RetentionPolicy | undefined;
  /** How long an archive without a manifest is left alone after its last write (ms). Defaults to one hour. */
  readonly orphanGraceMs?: number;
}

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

const UNFINISHED = { reason: "leftover", because: "its upload was never finished" } as const;
const REASONS: Readonly<Record<PruneEntry["kind"], SweepReason>> = {
  checkpoint: "retention",
  damaged: "retention",
  leftover: "leftover",
  reservation: "expired",
};

/** Removes checkpoints that the retention policy does not keep, leftovers of dead writers, and expired reservations. */
export async function sweepStore(options: SweepOptions): Promise<SweepReport> {
  const { store, source, orphanGraceMs } = options;
  // Checkpoints of a lost history are neither counted nor removed here; `prune` removes them on request.
  const agrees: PruneOptions["agrees"] = async (...found) => (await source.agrees?.(...found)) ?? true;
  const { format } = source;
  const complete = options.policy !== undefined;
  // A missing permission has been reported; no further removal is attempted.
  const canDelete = store.describe?.()?.canDelete !== false;
  const plan = canDelete ? await planPrune({ ...options, format, agrees, complete }) : [];
  const pruned = await prune(store, plan);
  const failed = [...pruned.failed];
  const removed: SweepReport["removed"][number][] = [];
  for (const { name, kind, because, bytes } of pruned.removed)
    removed.push({ name, reason: REASONS[kind], because, bytes });
  for (const name of await tidyUploads(store, failed, orphanGraceMs))
    removed.push({ name, ...UNFINISHED, bytes: 0 });
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
