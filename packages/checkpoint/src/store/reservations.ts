import { randomBytes } from "node:crypto";
import { isCairnError } from "@cairn/kv";
import { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { LONGEST_RECORD, readStoredRecord } from "./stored-record.ts";
import type { Clock } from "../timing/clock.ts";

/** The folder of reservations: somebody is restoring what they name. */
export const RESERVATIONS = "reservations/";

/** Renewed three times in that; after a crash of who restores, a checkpoint stays so much longer. */
const RESERVED_FOR_MS = 300_000;
/** However late it claims to end, one that was not renewed for so long has ended. */
const LONGEST_RESERVATION_MS = 2 * RESERVED_FOR_MS;

/** As {@link reserve} names them. */
const OWN_NAME = /^reservations\/[0-9a-f]{16}\.json$/;

const ReservationSchema = z.object({ checkpoint: z.string(), node: z.string(), expiresAt: z.iso.datetime() });

/** A reservation that this process renews until it is released. */
export interface Reservation {
  /** Fine when there is none: a store that cannot be written to is restored from without one. */
  release(): Promise<void>;
}

/** Asks sweeps to leave `checkpoint` alone. Best effort: where the store does not let us, there is nothing to release. */
export async function reserve(
  store: CheckpointStore,
  checkpoint: string,
  node: string,
  clock: Clock,
): Promise<Reservation> {
  const name = `${RESERVATIONS}${randomBytes(8).toString("hex")}.json`;
  const text = async (): Promise<string> => {
    const expiresAt = new Date((await store.now()) + RESERVED_FOR_MS).toISOString();
    return JSON.stringify({ checkpoint, node, expiresAt });
  };
  const made = await tolerant(async () => store.create(name, await text()));
  if (made !== true) return { release: async () => undefined };

  const ended = new AbortController();
  const renewing = (async () => {
    while (await clock.wait(RESERVED_FOR_MS / 3, ended.signal)) {
      await tolerant(async () => {
        const current = await store.read(name);
        if (current !== undefined) await store.replace(name, await text(), current.tag);
      });
    }
  })();
  return {
    async release() {
      ended.abort();
      await renewing;
      await tolerant(() => store.remove(name));
    },
  };
}

/** The checkpoints that unexpired reservations name, and the reservations' files that have expired. */
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
    // Whatever else lies in that folder is not ours to judge, nor to read again and again.
    if (!OWN_NAME.test(name) || bytes > LONGEST_RECORD) continue;
    // Where none can be removed they gather: what has ended for sure is not read, either.
    if (!mayRemove && modifiedAt + LONGEST_RESERVATION_MS <= now) continue;
    const reservation = await readStoredRecord(store, name, ReservationSchema);
    if (reservation === undefined) continue;
    // One that a wrong clock wrote must not keep a checkpoint for ever.
    const until = Math.min(Date.parse(reservation.expiresAt), modifiedAt + LONGEST_RESERVATION_MS);
    if (until > now) reserved.add(reservation.checkpoint);
    else expired.push(name);
  }
  return { reserved, expired };
}

/** A reservation is a courtesy: that the store refuses it must not stop a restore. */
async function tolerant<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isCairnError(error)) return undefined;
    throw error;
  }
}
