import type { CheckpointStore } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import { type BackupListing, backupLease } from "../segments/segment-name.ts";

/** The bounds of the age at which a lease counts as abandoned (ms). */
const MIN_LEASE_MS = 10_000;
const MAX_LEASE_MS = 600_000;

/** A lease need not survive a power loss: a lost one is acquired again, one that reappears is taken over once old. */
const NOT_DURABLE = { durable: false } as const;

/** The location of a lease and the node that acquires it. */
export interface LeaseTerms {
  readonly store: CheckpointStore;
  readonly logId: string;
  readonly node: string;
  /** The period of the backup (ms). */
  readonly every: number;
}

/**
 * Runs `work` while this node holds the backup's lease. Returns false without running it if another node holds the
 * lease, unless that one is abandoned: older than `every`, from 10 seconds to 10 minutes.
 */
export async function underLease(
  { store, logId, node, every }: LeaseTerms,
  { lease }: Pick<BackupListing, "lease">,
  now: number,
  work: () => Promise<void>,
): Promise<boolean> {
  const file = backupLease(logId);
  // No lease is taken in a store that cannot remove files, because it would keep the first lease forever.
  if (store.describe?.()?.canDelete === false) {
    await work();
    return true;
  }
  if (lease !== undefined) {
    const age = now - lease.modifiedAt;
    if (Math.abs(age) < Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, every))) return false;
    await tolerant(store.remove(file, NOT_DURABLE));
  }
  const text = JSON.stringify({ node, since: new Date(now).toISOString() });
  if (!(await store.create(file, text, NOT_DURABLE))) return false;
  try {
    await work();
    return true;
  } finally {
    await tolerant(store.remove(file, NOT_DURABLE));
  }
}

/** Awaits work and ignores its failure: a remaining lease is taken over once it has expired. */
async function tolerant(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isCairnError(error)) throw error;
  }
}
