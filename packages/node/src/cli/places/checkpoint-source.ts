import { everyStore } from "../../system/checkpoint-stores.ts";
import type { NodeOptions } from "../options/command-options.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type CheckpointPlace, withCheckpointPlace } from "./checkpoint-place.ts";
import { configuredSystem } from "./configured-system.ts";

/** Who is asked about checkpoints; `name` is the one that was named, where one was. */
export type CheckpointSource =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "store" | "node"; readonly name: string | undefined };

/** Whether it is a checkpoint's name: that has no slash. What has one, or does not begin like a name, is a path. */
export function isCheckpointName(place: string): boolean {
  return place.startsWith("checkpoint-") && !place.includes("/");
}

/**
 * Where commands look that can ask a node: at a path that is named; at a node, where --url says which; in the store of a configuration that
 * the command line gives, which needs no node; else at the node that there is.
 */
export function checkpointSource(place: string | undefined, options: NodeOptions): CheckpointSource {
  if (place !== undefined && !isCheckpointName(place)) return { kind: "path", path: place };
  const kind = options.url === undefined && isConfigured(options) ? "store" : "node";
  return { kind, name: place };
}

/**
 * The same for commands that never ask a node: a path, else the configured store. A bare name is one in that store only where the command
 * line gives a configuration, and else a file here.
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

/** Runs `use` with the store that the configured node saves to; neither the node nor its log is needed. */
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
    for (const store of everyStore(checkpointer)) await store.close();
  }
}

/** A configuration was to say which store is meant, and has none. */
export function noStore(): UsageError {
  return new UsageError(
    "The configuration has no checkpoint store.",
    "Name a folder of checkpoints, or one in it, by its path, or s3://bucket/prefix.",
  );
}
