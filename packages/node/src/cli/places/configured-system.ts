import { createSystem } from "../../config/create-system.ts";
import { requireConfig } from "../../config/read-config.ts";
import { closeStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import { type ConfigurationOptions, readConfiguration } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { withAwaitedStores } from "./awaited-store.ts";
import type { CheckpointPlace } from "./checkpoint-place.ts";

/** The parts of the node that the configuration describes, of which none was started; its notices go to standard error. */
export async function configuredSystem(options: ConfigurationOptions, terminal: Terminal): Promise<System> {
  const config = requireConfig(await readConfiguration(options, terminal));
  const onNotice = (notice: string): void => void terminal.stderr.write(`notice: ${notice}\n`);
  for (const notice of config.notices) onNotice(notice);
  return withAwaitedStores(await createSystem(config, { onNotice }), terminal);
}

/** Runs `use` with the store that the configured node saves to; neither the node nor its log is needed. */
export async function withConfiguredStore<T>(
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

/** A configuration was to say which store is meant, and has none. */
export function noStore(): UsageError {
  return new UsageError(
    "The configuration has no checkpoint store.",
    "Name a folder of checkpoints, or one in it, by its path, or s3://bucket/prefix.",
  );
}
