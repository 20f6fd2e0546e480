import { createSystem } from "../../system/create-system.ts";
import { requireConfig } from "../../system/read-config.ts";
import type { TxLog } from "../../tx-log/tx-log.ts";
import { type AddCommand, addGroup } from "../command-options.ts";
import { type ConfigurationOptions, readConfiguration } from "../configuration.ts";
import type { Terminal } from "../terminal.ts";
import { addLogCreate } from "./log-create.ts";
import { addLogStatus } from "./log-status.ts";

/** `cairn log …`. */
export const addLog: AddCommand = (parent, terminal) => {
  const group = addGroup(parent, "log", "Look at the transaction log, or begin one on purpose");
  for (const add of [addLogStatus, addLogCreate]) add(group, terminal);
};

/** Runs `use` with the log that the configuration names; without a node. */
export async function withLog<T>(
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (log: TxLog) => Promise<T>,
): Promise<T> {
  const config = requireConfig(await readConfiguration(options, terminal));
  const onNotice = (notice: string): void => void terminal.stderr.write(`notice: ${notice}\n`);
  for (const notice of config.notices) onNotice(notice);
  const { openTxLog } = await createSystem(config, { onNotice });
  const log = await openTxLog({ signal: new AbortController().signal });
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}
