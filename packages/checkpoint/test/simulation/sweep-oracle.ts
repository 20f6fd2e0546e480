import { checkpointFile, parseCheckpointFile } from "../../src/store/checkpoint.ts";
import { readLeases } from "../../src/store/lease-record.ts";
import { readReservations } from "../../src/store/reservations.ts";
import type { CheckpointStore } from "../../src/index.ts";
import type { RetentionPolicy } from "../../src/retain/retention.ts";
import type { StoreContents } from "../../testing/simulation/simulated-store.ts";
import type { Witness } from "./witness.ts";

/** The hour for which leftovers are kept, plus the error of clocks with a resolution of one second. */
const GRACE_MS = 3_602_000;

/** Determines what a sweep that begins now must remove if nothing fails, without using the code under test. */
export interface SweepOracle {
  /** Reports to the witness the files that a sweep should have removed but did not. */
  check(): Promise<void>;
}

/** Records the store's content before a sweep. `direct` reaches the store without delay. */
export async function beforeSweep(
  contents: StoreContents,
  seen: Witness,
  policy: Required<RetentionPolicy>,
  direct: CheckpointStore,
): Promise<SweepOracle> {
  const { files } = contents;
  const now = contents.now();
  const present = seen.listed();
  const reservedBefore = (await readReservations(direct)).reserved;
  const uploading = (await readLeases(direct)).flatMap(({ live, record }) => (live ? [record.archive] : []));
  const outdated = present
    .slice(policy.retainAtLeast)
    .filter(({ parsed }) => now - parsed.takenAt >= policy.retainNewerThan)
    .map(({ name }) => name);
  const isVerified = (name: string): boolean => files.has(checkpointFile(name, "verified"));
  const verified = present.map(({ name }) => name).find(isVerified);
  const leftovers = [...files].filter(([file]) => isLeftover(contents, file, now, uploading));
  return {
    async check() {
      const { reserved } = await readReservations(direct);
      const isExcused = (name: string): boolean =>
        reserved.has(name) || reservedBefore.has(name) || name === verified;
      const listed = new Set(seen.listed().map(({ name }) => name));
      for (const name of outdated) {
        if (listed.has(name) && !isExcused(name))
          seen.violate("retention removes outdated checkpoints", name);
      }
      for (const [file, held] of leftovers) {
        const checkpoint = parseCheckpointFile(file)?.checkpoint ?? "";
        if (files.get(file)?.tag === held.tag && !isExcused(checkpoint)) {
          seen.violate("leftovers go after the grace period", file);
        }
      }
    },
  };
}

function isLeftover(
  { files }: StoreContents,
  file: string,
  now: number,
  uploading: readonly (string | undefined)[],
): boolean {
  const is = parseCheckpointFile(file);
  if (is === undefined || is.part === "manifest") return false;
  const archive = checkpointFile(is.checkpoint, "archive");
  const beside = [archive, checkpointFile(is.checkpoint, "verified")];
  const lastWritten = Math.max(...beside.map((name) => files.get(name)?.modifiedAt ?? 0));
  if (now - lastWritten < GRACE_MS) return false;
  return !files.has(checkpointFile(is.checkpoint, "manifest")) && !uploading.includes(archive);
}
