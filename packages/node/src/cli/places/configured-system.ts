import { createSystem } from "../../config/create-system.ts";
import { requireConfig } from "../../config/read-config.ts";
import type { System } from "../../api/system.ts";
import { type ConfigurationOptions, readConfiguration } from "../options/configuration.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { withAwaitedStores } from "./awaited-store.ts";

/** Creates the parts of the configured node without starting any of them. Notices are written to standard error. */
export async function configuredSystem(options: ConfigurationOptions, terminal: Terminal): Promise<System> {
  const config = requireConfig(await readConfiguration(options, terminal));
  const onNotice = (notice: string): void => void terminal.stderr.write(`notice: ${notice}\n`);
  for (const notice of config.notices) onNotice(notice);
  return withAwaitedStores(await createSystem(config, { onNotice }), terminal);
}
