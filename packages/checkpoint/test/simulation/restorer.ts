import { isCairnError } from "@cairn/kv";
import { checkpointFile } from "../../src/store/checkpoint.ts";
import { markVerified } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { listCheckpoints } from "../../src/store/list-checkpoints.ts";
import { RESERVATIONS, reserve } from "../../src/store/reservations.ts";
import type { NodeLife } from "../../testing/simulation/node-life.ts";
import type { SeededRandom } from "../../testing/simulation/seeded-random.ts";
import type { StoreContents, StoreWatcher } from "../../testing/simulation/simulated-store.ts";

/**
 * Restores the newest checkpoint from time to time, as slowly as possible, and marks it as verified if that succeeds.
 */
export interface Restorer {
  /**
   * Returns whether it may rely on the archive of `name`: it has held a reservation without a lapse, and has found the
   * archive published since.
   */
  countsOn(name: string): boolean;
  watcher(next: StoreWatcher): StoreWatcher;
}

/** The parts that a restorer works with. */
export interface RestorerParts {
  readonly life: NodeLife;
  readonly contents: StoreContents;
  readonly random: SeededRandom;
  readonly every: number;
  /** The shortest and the longest duration of a restore. */
  readonly lasts: readonly [number, number];
  /** Called if the restorer held a reservation for a checkpoint but found no archive. */
  readonly onMissing: (name: string) => void;
}

const NO_DIGEST = `sha256:${"0".repeat(64)}`;

/** Begins restoring from the store that `open` returns. */
export function startRestorer(
  parts: RestorerParts,
  open: (watcher: (next: StoreWatcher) => StoreWatcher) => CheckpointStore,
): Restorer {
  const { life, contents, random, every, lasts, onMissing } = parts;
  const { clock } = life;
  let counted: string | undefined;

  const watcher = (next: StoreWatcher): StoreWatcher => ({
    ...next,
    written(name, file, before) {
      next.written?.(name, file, before);
      if (!name.startsWith(RESERVATIONS) || before === undefined) return;
      const { expiresAt } = JSON.parse(before.content.toString("utf8")) as { expiresAt: string };
      // The reservation was renewed too late, so a sweep may have run in between.
      if (Date.parse(expiresAt) <= contents.now()) counted = undefined;
    },
  });
  const store = open(watcher);

  async function restore(): Promise<void> {
    const { checkpoints } = await listCheckpoints(store);
    const chosen = random.chance(0.7) ? checkpoints[0] : random.pick(checkpoints);
    if (chosen === undefined) return;
    const { name } = chosen;
    const reservation = await reserve(store, name, life.node, clock);
    try {
      // A reservation is best effort, and may have failed silently.
      if ((await store.list(RESERVATIONS)).length === 0) return;
      if ((await store.read(checkpointFile(name, "manifest"))) === undefined) return;
      counted = name;
      await clock.wait(random.magnitude(...lasts));
      const isThere = contents.files.has(checkpointFile(name, "archive"));
      if (countsOn(name) && !isThere) onMissing(name);
      if (isThere) await markVerified(store, name, { node: life.node, digest: NO_DIGEST, manifest: chosen });
    } finally {
      counted = undefined;
      await reservation.release();
    }
  }

  void (async () => {
    for (;;) {
      await clock.wait(random.after(every));
      try {
        await restore();
      } catch (error) {
        if (!isCairnError(error)) throw error;
      }
    }
  })();
  return { watcher, countsOn };

  // A reservation whose creation was not answered is not renewed, and lapses.
  function countsOn(name: string): boolean {
    return counted === name && [...contents.files].some(([file, held]) => isLive(file, held.content, name));
  }

  function isLive(file: string, content: Buffer, name: string): boolean {
    if (!file.startsWith(RESERVATIONS)) return false;
    const { checkpoint, expiresAt } = JSON.parse(content.toString("utf8")) as Record<string, string>;
    return checkpoint === name && Date.parse(expiresAt ?? "") > contents.now();
  }
}
