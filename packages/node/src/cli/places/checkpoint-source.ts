import { closeStores } from "../../checkpoints/checkpoint-stores.ts";
import type { NodeOptions } from "../options/command-options.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type CheckpointPlace, withCheckpointPlace } from "./checkpoint-place.ts";
import { configuredSystem } from "./configured-system.ts";

/** Where a command finds checkpoints; `name` is that of a checkpoint, if one was named. */
export type CheckpointLocation =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "store" | "node"; readonly name: string | undefined };

/** Whether it is a checkpoint's name rather than a path: names have no slash. */
export function isCheckpointName(place: string): boolean {
  return place.startsWith("checkpoint-") && !place.includes("/");
}

/**
 * Where a command that can ask a node finds checkpoints: at a path; at the node of --url; in the store of a configuration that the command
 * line gives, without a node; else at the default node.
 */
export function checkpointSource(place: string | undefined, options: NodeOptions): CheckpointLocation {
  if (place !== undefined && !isCheckpointName(place)) return { kind: "path", path: place };
  const kind = options.url === undefined && isConfigured(options) ? "store" : "node";
  return { kind, name: place };
}

/**
 * The same for commands that never ask a node: a path, else the configured store. A bare name means a checkpoint in that store if the
 * command line gives a configuration, and otherwise a file in the working directory.
 */
export async function withCheckpoints<T>(
  place: string | undefined,
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (place: CheckpointPlace) => Promise<T>,
): Promise<T> {
  return place === undefined || (isConfigured(options) && isCheckpointName(place))
    ? await withConfiguredStore(place, options, terminal, use)
    : await withCheckpointPlace(place, terminal, use);
}

/** Runs `use` with the store that the configured node saves to. Needs neither the node nor its log. */
async function withConfiguredStore<T>(
  name: string | undefined,
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (place: CheckpointPlace) => Promise<T>,
): Promise<T> {
  const { checkpointer } = await configuredSystem(options, terminal);
  if (checkpointer === undefined) throw noStore();
  try {
    return await use({ store: checkpointer.store, name });
  } finally {
    await closeStores(checkpointer);
  }
}

/** The configuration that should name the store has none. */
export function noStore(): UsageError {
  return new UsageError(
    "The configuration has no checkpoint store.",
    "Name a folder of checkpoints or the path of a checkpoint, or s3://bucket/prefix.",
  );
}
