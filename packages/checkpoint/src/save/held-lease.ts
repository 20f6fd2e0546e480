import type { LeaseRecord } from "../store/lease-record.ts";

/** Who else is uploading, as the lease in the store says it; times by the store's clock. */
export interface HeldLease {
  readonly owner: string;
  /** Of the index, packed so far. */
  readonly bytes: number;
  /** Null where the lease does not say it. */
  readonly since: string | null;
  /** Unless it is renewed before. */
  readonly expiresAt: string;
  /**
   * It bears this node's own id and was not renewed since this process began: an earlier life of the node left it. It is waited for all
   * the same: a copy of the machine or of its volume has the same id, path and files, so nothing proves that its holder is dead.
   */
  readonly leftBehind: boolean;
}

/** A lease as others are told of it. */
export function heldLease(record: LeaseRecord, leftBehind: boolean): HeldLease {
  const { owner, progress, since = null, expiresAt } = record;
  return { owner, bytes: progress.bytes, since, expiresAt, leftBehind };
}

/** Why a round saves nothing while somebody else holds the lease, as a sentence. */
export function tellHeld(held: HeldLease | undefined): string {
  if (held === undefined) return "Another node has just begun to upload a checkpoint.";
  const { owner, bytes, since, expiresAt, leftBehind } = held;
  const began = since === null ? "" : ` since ${since}`;
  if (!leftBehind) {
    return `${owner} is uploading a checkpoint${began}, ${bytes} bytes so far; unless it is renewed, its lease ends at ${expiresAt}.`;
  }
  return (
    `An earlier process of this node, ${owner}, was uploading a checkpoint${began}, ${bytes} bytes, and has not renewed its lease ` +
    `since this one started; the lease ends at ${expiresAt}.`
  );
}
