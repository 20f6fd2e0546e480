import { join } from "node:path";
import {
  type CheckpointStore,
  restoreCheckpoint,
  type RestoreOptions,
  type RestoreResult,
  takeCheckpoint,
  type TakeOutcome,
} from "@cairn/checkpoint";
import { type SweepOptions, type SweepReport, sweepStore } from "@cairn/checkpoint/src/retain/sweep";
import type { TakeOptions } from "@cairn/checkpoint/src/save/checkpoint-round";
import { filesAt } from "./index-files.ts";
import { contentsOf } from "./places.ts";
import type { TestSource } from "./test-source.ts";

/** Runs one forced round of `source` into `store`. */
export function take(
  store: CheckpointStore,
  source: TestSource,
  dir: string,
  change: Partial<Omit<TakeOptions, "options">> & { options?: Partial<TakeOptions["options"]> } = {},
): Promise<TakeOutcome> {
  const options = {
    store,
    approxFrequency: 3_600_000,
    checkpointDir: join(dir, "capture"),
    compression: "none" as const,
  };
  return takeCheckpoint({ source, forced: true, ...change, options: { ...options, ...change.options } });
}

/** Saves a checkpoint of `source` at `txId`, with only the content of this transaction, and returns its name. */
export async function takeAt(
  txId: number,
  store: CheckpointStore,
  source: TestSource,
  dir: string,
): Promise<string> {
  source.txId = txId;
  source.files = filesAt(txId);
  const outcome = await take(store, source, dir);
  if (outcome.outcome !== "taken") throw new Error(`nothing was saved: ${outcome.because}`);
  return outcome.checkpoint.name;
}

/** Restores from `stores` to `<dir>/live`. Unless the test specifies otherwise, every checkpoint is accepted. */
export function restore(
  stores: readonly CheckpointStore[],
  dir: string,
  change: Partial<RestoreOptions> = {},
): Promise<RestoreResult> {
  return restoreCheckpoint({
    stores,
    stagingDir: join(dir, "staging"),
    targetDir: join(dir, "live"),
    node: "node-2",
    accept: async () => true,
    ...change,
  });
}

/** Returns the digests of the files in `<dir>/live`. */
export function restoredIn(dir: string): Promise<Record<string, string>> {
  return contentsOf(join(dir, "live"));
}

/** Sweeps as the checkpointer of `source` would. */
export function sweep(
  store: CheckpointStore,
  source: TestSource,
  change: Partial<SweepOptions> = {},
): Promise<SweepReport> {
  return sweepStore({ store, source, logId: source.logId, ...change });
}

/** Returns the names of all files in a store. */
export async function namesIn(store: CheckpointStore): Promise<string[]> {
  return (await store.list("")).map((file) => file.name);
}
