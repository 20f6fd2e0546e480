import { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { idInName } from "./stored-files.ts";
import { MAX_RECORD_LENGTH, parseStoredRecord, readStoredRecord } from "./stored-record.ts";

export const LEASE_PREFIX = "in-progress";

/** The maximum number of unfinished uploads that are recorded. They accumulate in stores where none can be aborted. */
const MAX_UNFINISHED = 16;

const LEASE_NAME = /^in-progress-[A-Za-z0-9._-]+\.json$/;

/** Each log has its own, so that logs that share a store do not wait for each other. */
export function leaseFile(logId: string): string {
  return `${LEASE_PREFIX}-${idInName(logId)}.json`;
}

/** A lease that is valid for longer (ms) was written with a wrong clock, and counts as expired. */
export const MAX_CREDIBLE_LEASE_MS = 600_000;

export const LeaseSchema = z.object({
  owner: z.string(),
  // This identifies the process, because `owner` is a node's id, which a second process may have by mistake.
  nonce: z.string(),
  // The archive that is being uploaded, which sweeps leave alone. Absent before the upload.
  archive: z.string().optional(),
  // Archives whose uploads earlier holders may have left unfinished. Sweeps find them by name.
  unfinished: z.array(z.string()).optional(),
  progress: z.object({ bytes: z.number() }),
  since: z.iso.datetime().optional(),
  renewedAt: z.iso.datetime().optional(),
  expiresAt: z.iso.datetime(),
});

/** A lease as it is stored. Times are by the store's clock. */
export type LeaseRecord = z.infer<typeof LeaseSchema>;

/** Reads the leases of all logs in a store, live or ended. */
export async function readLeases(store: CheckpointStore) {
  const files = (await store.list(LEASE_PREFIX)).filter(({ name }) => LEASE_NAME.test(name));
  const leases: { readonly file: string; readonly record: LeaseRecord; readonly live: boolean }[] = [];
  if (files.length === 0) return leases;
  const now = await store.now();
  for (const { name: file, bytes, modifiedAt } of files) {
    const read = bytes > MAX_RECORD_LENGTH ? undefined : await readStoredRecord(store, file, LeaseSchema);
    const record = read ?? unknownLease(modifiedAt);
    leases.push({ file, record, live: isLive(record, now) });
  }
  return leases;
}

/** Parses a lease, live or not; undefined if its file has been removed in the meantime. */
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

/** A stand-in for a lease that cannot be read, perhaps a later version's. It is valid for the longest credible time. */
function unknownLease(modifiedAt: number): LeaseRecord {
  const expiresAt = new Date(modifiedAt + MAX_CREDIBLE_LEASE_MS).toISOString();
  return { owner: "An unknown process", nonce: "", progress: { bytes: 0 }, expiresAt };
}

/** Returns the latest archives whose uploads may have been left unfinished by the holders of a lease that has ended. */
export function unfinishedOf(ended: LeaseRecord | undefined): string[] {
  const { archive, unfinished = [] } = ended ?? {};
  return [...unfinished, ...(archive === undefined ? [] : [archive])].slice(-MAX_UNFINISHED);
}

/** Records in an ended lease, unless it was acquired since, that `archives` have no unfinished uploads left. */
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

export function isLive(lease: LeaseRecord, now: number): boolean {
  const left = Date.parse(lease.expiresAt) - now;
  return left > 0 && left <= MAX_CREDIBLE_LEASE_MS;
}

/** Another process that is uploading, according to its lease. Times are by the store's clock. */
export interface HeldLease {
  readonly owner: string;
  /** Bytes of the index packed so far. */
  readonly bytes: number;
  /** The time at which the upload began; null if the lease does not state it. */
  readonly since: string | null;
  /** The time at which the lease expires unless it is renewed. */
  readonly expiresAt: string;
}

/** Returns the reason for skipping a round while another process holds the lease, as a sentence. */
export function describeHolder(held: HeldLease | undefined): string {
  if (held === undefined) return "Another node has just begun to upload a checkpoint.";
  const { owner, bytes, since, expiresAt } = held;
  const began = since === null ? "" : ` since ${since}`;
  return `${owner} is uploading a checkpoint${began}, ${bytes} bytes so far; unless it is renewed, its lease ends at ${expiresAt}.`;
}
