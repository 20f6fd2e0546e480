import { randomBytes } from "node:crypto";
import { type Clock, repeatEvery, systemClock, unlessAborted, unlessFailed, withTimeout } from "@cairn/kv";
import { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { MAX_RECORD_LENGTH, readStoredRecord } from "./stored-record.ts";

/** The folder of reservations: each names a checkpoint that a node is restoring. */
export const RESERVATIONS = "reservations/";

/** A reservation is renewed three times within this time (ms). After a crash, it keeps the checkpoint for so long. */
const RESERVATION_MS = 300_000;
/** The time after which a reservation that is not renewed has ended, whatever expiry time it states (ms). */
const MAX_RESERVATION_MS = 2 * RESERVATION_MS;

/** How long the release of a reservation may take (ms). One that is not released expires by itself. */
const RELEASE_TIMEOUT_MS = 1_000;

const OWN_NAME = /^reservations\/[0-9a-f]{16}\.json$/;

const ReservationSchema = z.object({ checkpoint: z.string(), node: z.string(), expiresAt: z.iso.datetime() });

/**
 * Makes sweeps keep `checkpoint`, with a reservation that is renewed until it is released. If the store rejects it, as a
 * read-only one does, there is nothing to release.
 */
export async function reserve(
  store: CheckpointStore,
  checkpoint: string,
  node: string,
  clock: Clock,
): Promise<{ release(): Promise<void> }> {
  const name = `${RESERVATIONS}${randomBytes(8).toString("hex")}.json`;
  const text = async (): Promise<string> => {
    const expiresAt = new Date((await store.now()) + RESERVATION_MS).toISOString();
    return JSON.stringify({ checkpoint, node, expiresAt });
  };
  const made = await bestEffort(async () => store.create(name, await text()));
  if (made !== true) return { release: async () => undefined };

  const renew = async (): Promise<void> => {
    const current = await store.read(name);
    if (current !== undefined) await store.replace(name, await text(), current.tag);
  };
  // A failed renewal is repeated, and one that ends because the node stops is not needed.
  const renewing = repeatEvery(clock, RESERVATION_MS / 3, renew, () => undefined);
  return {
    async release() {
      await renewing.stop();
      await bestEffort(() => store.remove(name));
    },
  };
}

interface ReservedParts {
  readonly store: CheckpointStore;
  readonly name: string;
  readonly node: string;
  readonly clock?: Clock | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Does `work` while sweeps keep the checkpoint `name`. */
export async function whileReserved<T>(
  { store, name, node, clock = systemClock, signal }: ReservedParts,
  work: () => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const reserving = reserve(store, name, node, clock);
  // A reservation that is created after all must not be renewed forever.
  const reservation = await unlessAborted(reserving, signal, (late) => void late.release());
  try {
    return await work();
  } finally {
    await withTimeout(reservation.release(), RELEASE_TIMEOUT_MS);
  }
}

export async function readReservations(
  store: CheckpointStore,
): Promise<{ readonly reserved: ReadonlySet<string>; readonly expired: readonly string[] }> {
  const reserved = new Set<string>();
  const expired: string[] = [];
  const files = await store.list(RESERVATIONS);
  if (files.length === 0) return { reserved, expired };
  const now = await store.now();
  const mayRemove = store.describe?.()?.canDelete !== false;
  for (const { name, bytes, modifiedAt } of files) {
    // Other files in that folder are foreign, and do not have to be read again and again.
    if (!OWN_NAME.test(name) || bytes > MAX_RECORD_LENGTH) continue;
    // In stores where reservations cannot be removed, they accumulate, so those that have certainly ended are not read.
    if (!mayRemove && modifiedAt + MAX_RESERVATION_MS <= now) continue;
    const reservation = await readStoredRecord(store, name, ReservationSchema);
    if (reservation === undefined) continue;
    // A reservation written by a wrong clock must not keep a checkpoint forever.
    const until = Math.min(Date.parse(reservation.expiresAt), modifiedAt + MAX_RESERVATION_MS);
    if (until > now) reserved.add(reservation.checkpoint);
    else expired.push(name);
  }
  return { reserved, expired };
}

/** Ignores errors of the store, since a restore also works without a reservation. */
async function bestEffort<T>(work: () => Promise<T>): Promise<T | undefined> {
  return await unlessFailed(work(), "any", undefined);
}
