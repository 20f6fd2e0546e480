import { ERROR_CODES, unlessFailed } from "@cairn/kv";
import { type BackupListing, backupLease } from "../segments/segment-name.ts";
import type { BackupTarget } from "./write-segments.ts";

/** The bounds of the age at which a lease counts as abandoned (ms). */
const MIN_LEASE_MS = 10_000;
const MAX_LEASE_MS = 600_000;

/** A lease need not survive a power loss: a lost one is acquired again, one that reappears is taken over once old. */
const NOT_DURABLE = { durable: false } as const;

/**
 * Runs `work` while this node holds the backup's lease. Returns undefined without running it if another node holds it,
 * unless that lease is abandoned: older than `every` (ms), which counts as 10 seconds to 10 minutes.
 */
export async function underLease<T>(
  { store, of, node, storeNow }: BackupTarget,
  every: number,
  lease: BackupListing["lease"],
  work: () => Promise<T>,
): Promise<T | undefined> {
  const file = backupLease(of.id);
  // No lease is taken in a store that cannot remove files, because it would keep the first lease forever.
  if (store.describe?.()?.canDelete === false) return await work();
  // A lease that remains is taken over once it has expired.
  const remove = (): Promise<void> => unlessFailed(store.remove(file, NOT_DURABLE), ERROR_CODES, undefined);
  const now = storeNow();
  if (lease !== undefined) {
    const age = now - lease.modifiedAt;
    if (Math.abs(age) < Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, every))) return undefined;
    await remove();
  }
  const text = JSON.stringify({ node, since: new Date(now).toISOString() });
  if (!(await store.create(file, text, NOT_DURABLE))) return undefined;
  try {
    return await work();
  } finally {
    await remove();
  }
}
