import { createHash } from "node:crypto";
import { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { LONGEST_RECORD, parseStoredRecord, readStoredRecord } from "./stored-record.ts";

/** What the names of leases begin with. */
export const LEASES = "in-progress";

/** The lease of earlier builds, which did not tell logs apart: while it is live, no log's nodes upload. */
export const SHARED_LEASE = `${LEASES}.json`;

/** No more than these are remembered: where none can be ended, they would gather. */
const MOST_UNFINISHED = 16;

const LEASE_NAME = /^in-progress(?:-[A-Za-z0-9._-]+)?\.json$/;
const PLAIN_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** The file of a log's lease: the node that holds it is uploading. Logs that share a store do not wait for each other. */
export function leaseFile(logId: string): string {
  const id = PLAIN_ID.test(logId) ? logId : createHash("sha256").update(logId).digest("hex").slice(0, 32);
  return `${LEASES}-${id}.json`;
}

/** No lease is longer; one that says so was written by a wrong clock and counts as expired. */
export const LONGEST_LEASE_MS = 600_000;

/** What a lease must be to be read. */
export const LeaseSchema = z.object({
  owner: z.string(),
  // Which process: `owner` is a node's id, which a second process may bear by mistake.
  nonce: z.string(),
  // The archive that is being uploaded, once that began; sweeps leave it alone.
  archive: z.string().optional(),
  // Archives whose uploads earlier holders may have left unfinished: sweeps look for them by name.
  unfinished: z.array(z.string()).optional(),
  progress: z.object({ bytes: z.number() }),
  since: z.iso.datetime().optional(),
  renewedAt: z.iso.datetime().optional(),
  expiresAt: z.iso.datetime(),
});

/** The lease as it lies in the store; times are by the store's clock. */
export type LeaseRecord = z.infer<typeof LeaseSchema>;

/** A lease as it lies in a store. */
export interface StoredLease {
  readonly file: string;
  readonly record: LeaseRecord;
  readonly live: boolean;
}

/** The leases of all logs in a store, live and ended. */
export async function readLeases(store: CheckpointStore): Promise<StoredLease[]> {
  const files = (await store.list(LEASES)).filter(({ name }) => LEASE_NAME.test(name));
  const leases: StoredLease[] = [];
  if (files.length === 0) return leases;
  const now = await store.now();
  for (const { name: file, bytes, modifiedAt } of files) {
    const read = bytes > LONGEST_RECORD ? undefined : await readStoredRecord(store, file, LeaseSchema);
    const record = read ?? unknownLease(modifiedAt);
    leases.push({ file, record, live: isLive(record, now) });
  }
  return leases;
}

/** The lease that `text` holds, live or not; undefined when it went meanwhile. */
export async function parseLease(
  store: CheckpointStore,
  file: string,
  text: string,
): Promise<LeaseRecord | undefined> {
  const record = parseStoredRecord(LeaseSchema, text);
  if (record !== undefined) return record;
  const listed = (await store.list(file)).find(({ name }) => name === file);
  return listed === undefined ? undefined : unknownLease(listed.modifiedAt);
}

/** Not one of ours, perhaps a later version's: it holds for as long as the longest that we know. */
function unknownLease(modifiedAt: number): LeaseRecord {
  const expiresAt = new Date(modifiedAt + LONGEST_LEASE_MS).toISOString();
  return { owner: "unknown", nonce: "", progress: { bytes: 0 }, expiresAt };
}

/** The latest archives whose uploads a lease that has ended may have left unfinished. */
export function unfinishedOf(ended: LeaseRecord | undefined): string[] {
  const { archive, unfinished = [] } = ended ?? {};
  return [...unfinished, ...(archive === undefined ? [] : [archive])].slice(-MOST_UNFINISHED);
}

/** Takes note that no upload of `archives` is unfinished any more; a lease that was taken meanwhile is left alone. */
export async function settleUnfinished(
  store: CheckpointStore,
  file: string,
  archives: readonly string[],
): Promise<void> {
  const current = await store.read(file);
  const ended = current === undefined ? undefined : parseStoredRecord(LeaseSchema, current.text);
  if (current === undefined || ended === undefined || isLive(ended, await store.now())) return;
  const { archive: _, unfinished: _all, ...rest } = ended;
  const unfinished = unfinishedOf(ended).filter((name) => !archives.includes(name));
  await store.replace(file, JSON.stringify({ ...rest, unfinished } satisfies LeaseRecord), current.tag);
}

/** Whether a lease still holds. */
export function isLive(lease: LeaseRecord, now: number): boolean {
  const left = Date.parse(lease.expiresAt) - now;
  return left > 0 && left <= LONGEST_LEASE_MS;
}
