import { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { parseStoredRecord } from "./stored-record.ts";

/** The file of the lease: whoever holds it is uploading. */
export const LEASE_FILE = "in-progress.json";

/** No lease is longer; one that says so was written by a wrong clock and counts as expired. */
export const LONGEST_LEASE_MS = 600_000;

/** What a lease must be to be read. */
export const LeaseSchema = z.object({
  owner: z.string(),
  // Which process: `owner` is a node's id, which a second process may bear by mistake.
  nonce: z.string(),
  // The archive that is being uploaded, once that began; sweeps leave it alone.
  archive: z.string().optional(),
  progress: z.object({ bytes: z.number() }),
  since: z.iso.datetime().optional(),
  renewedAt: z.iso.datetime().optional(),
  expiresAt: z.iso.datetime(),
});

/** The lease as it lies in the store; times are by the store's clock. */
export type LeaseRecord = z.infer<typeof LeaseSchema>;

/** The lease that somebody holds now, or undefined when there is none or it has expired. */
export async function readLease(store: CheckpointStore): Promise<LeaseRecord | undefined> {
  const current = await store.read(LEASE_FILE);
  if (current === undefined) return undefined;
  const record = await parseLease(store, current.text);
  return record !== undefined && isLive(record, await store.now()) ? record : undefined;
}

/** The lease that `text` holds, live or not; undefined when it went meanwhile. */
export async function parseLease(store: CheckpointStore, text: string): Promise<LeaseRecord | undefined> {
  const record = parseStoredRecord(LeaseSchema, text);
  if (record !== undefined) return record;
  // Not one of ours, perhaps a later version's: it holds for as long as the longest that we know.
  const file = (await store.list(LEASE_FILE)).find(({ name }) => name === LEASE_FILE);
  if (file === undefined) return undefined;
  const expiresAt = new Date(file.modifiedAt + LONGEST_LEASE_MS).toISOString();
  return { owner: "unknown", nonce: "", progress: { bytes: 0 }, expiresAt };
}

/** Whether a lease still holds. */
export function isLive(lease: LeaseRecord, now: number): boolean {
  const left = Date.parse(lease.expiresAt) - now;
  return left > 0 && left <= LONGEST_LEASE_MS;
}
