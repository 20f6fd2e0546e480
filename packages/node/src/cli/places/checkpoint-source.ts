import { allStores, closeStores } from "../../checkpoints/checkpoint-stores.ts";
import type { NodeOptions } from "../options/command-options.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import type { StoreKeyOptions } from "../options/store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
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
  place: string | undefined,
  options: ConfigurationOptions & StoreKeyOptions,
  terminal: Terminal,
  use: (place: CheckpointPlace) => Promise<T>,
): Promise<T> {
  return place === undefined || (isConfigured(options) && isCheckpointName(place))
    ? await withConfiguredStore(place, options, terminal, use)
    : await withCheckpointPlace(place, options, terminal, use);
}

/** Uses the store to which the node saves, else the first from which it restores. Requires neither node nor log. */
async function withConfiguredStore<T>(
  name: string | undefined,
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (place: CheckpointPlace) => Promise<T>,
): Promise<T> {
  const system = await configuredSystem(options, terminal);
  const [store] = allStores(system);
  if (store === undefined) throw noStore();
  try {
    return await use({
      store,
      name,
      openLog: system.openTxLog,
      periodMs: system.checkpointer?.approxFrequency,
    });
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
