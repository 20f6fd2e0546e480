import { allStores, closeStores } from "../../checkpoints/checkpoint-stores.ts";
import type { CommandRun } from "../options/command.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import type { NodeOptions } from "../options/node-address.ts";
import type { StoreKeyOptions } from "../options/store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type CheckpointPlace, withCheckpointPlace } from "./checkpoint-place.ts";
import { configuredSystem } from "./configured-system.ts";

/** Where a command finds checkpoints. If the command line names a checkpoint, `name` is its name. */
export type CheckpointLocation =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "store" | "node"; readonly name: string | undefined };

/** Returns whether `place` is the name of a checkpoint rather than a path. Names contain no slash. */
export function isCheckpointName(place: string): boolean {
  return place.startsWith("checkpoint-") && !place.includes("/");
}

/** In order of precedence: a path, --url, the store of a configuration on the command line, the default node. */
export function checkpointSource(place: string | undefined, options: NodeOptions): CheckpointLocation {
  if (place !== undefined && !isCheckpointName(place)) return { kind: "path", path: place };
  const kind = options.url === undefined && isConfigured(options) ? "store" : "node";
  return { kind, name: place };
}

/**
 * Runs `use` with the store in which a command that never queries a node finds checkpoints: the store at a path or,
 * without a path, the configured store. A name without a slash means a checkpoint in the configured store if the
 * command line gives a configuration. Otherwise it means a file in the working directory.
 */
export async function withCheckpoints<T>(
  { options, terminal }: CommandRun<ConfigurationOptions & StoreKeyOptions>,
  place: string | undefined,
  use: (place: CheckpointPlace) => Promise<T>,
): Promise<T> {
  if (place !== undefined && !(isConfigured(options) && isCheckpointName(place)))
    return await withCheckpointPlace(place, options, terminal, use);
  // The store to which the node saves, else the first from which it restores. Neither node nor log is needed.
  const system = await configuredSystem(options, terminal);
  const [store] = allStores(system);
  if (store === undefined) throw noStore();
  const periodMs = system.checkpointer?.approxFrequency;
  try {
    return await use({ store, name: place, openLog: system.openTxLog, periodMs });
  } finally {
    await closeStores(system);
  }
}

export function noStore(): UsageError {
  return new UsageError(
    "The configuration has no checkpoint store.",
    "Name a folder of checkpoints or the path of a checkpoint, or s3://bucket/prefix.",
  );
}
