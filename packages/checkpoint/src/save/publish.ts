import { CairnError, isCairnError } from "@cairn/kv";
import { checkpointFile } from "../store/checkpoint-name.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import type { Clock } from "../timing/clock.ts";
import { readReservations } from "../store/reservations.ts";
import { removeCheckpoint } from "../retain/sweep.ts";

// Pauses of 200, 400 and 800 ms, beside the tries that a store makes itself: enough for an answer that was lost, which asking shows.
const TRIES = 4;
const FIRST_PAUSE_MS = 100;

/**
 * Writes a manifest, which is what makes a checkpoint; tries again where the store's answer was lost. `stillMayPublish` throws when
 * somebody else may have begun meanwhile.
 */
export async function publishManifest(
  store: CheckpointStore,
  file: string,
  text: string,
  clock: Clock,
  stillMayPublish: () => Promise<void>,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      if (tries > 1) {
        if ((await store.read(file))?.text === text) return;
        await stillMayPublish();
      }
      if (await store.create(file, text)) return;
      // An earlier try may have arrived though its answer did not.
      if ((await store.read(file))?.text === text) return;
      throw new CairnError("CONFLICT", `${file} is already in ${store.location}.`, {
        hint: "Another process wrote it under the same random name; the next round makes a new one.",
      });
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE") || tries === TRIES) throw error;
      await clock.wait(FIRST_PAUSE_MS * 2 ** tries);
    }
  }
}

/** Takes back what a failed round has written, unless somebody restores or has verified it. `reason`, which the caller throws, is what users hear of, not this. */
export async function unpublish(store: CheckpointStore, name: string, reason: unknown): Promise<void> {
  try {
    // The manifest too: the answer to its writing may have been lost. Then it is a checkpoint, on which somebody may count by now.
    const isReserved = (await readReservations(store)).reserved.has(name);
    if (isReserved || (await store.read(checkpointFile(name, "verified"))) !== undefined) return;
    await removeCheckpoint(store, name);
  } catch (error) {
    // A store that fails twice keeps an archive without a manifest; a later sweep removes it.
    if (!isCairnError(error))
      throw new AggregateError([reason, error], "A failed checkpoint could not be tidied up.", {
        cause: error,
      });
  }
}

/** Whether nothing is left of a failed upload that does not list. Where it cannot be known now, the next sweep finds out. */
export async function isTidy(store: CheckpointStore, archive: string): Promise<boolean> {
  try {
    await store.tidy?.({ before: 0, isDead: () => false, unfinished: [archive] });
    return true;
  } catch (error) {
    if (isCairnError(error)) return false;
    throw error;
  }
}
