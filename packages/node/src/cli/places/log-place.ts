import { CairnError, isCairnError } from "@cairn/kv";
import { createSystem } from "../../config/create-system.ts";
import { requireConfig } from "../../config/read-config.ts";
import type { System } from "../../system/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { type ConfigurationOptions, readConfiguration } from "../options/configuration.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { withAwaitedStores } from "./awaited-store.ts";

/** `CONFLICT`: a log is there where one was to begin. */
export function logExists(name: string, last: number): CairnError {
  return new CairnError("CONFLICT", `The log "${name}" is there already; its last message is ${last}.`, {
    hint: "Nothing was changed. cairn log status shows what it holds.",
  });
}

/** `NOT_FOUND`: there is no log yet. */
export function noLog(name: string): CairnError {
  return new CairnError("NOT_FOUND", `There is no log "${name}" there yet.`, {
    hint: "The first node makes it; cairn log create begins one on purpose.",
  });
}

/** Runs `use` with the log that the configuration names, and the other parts of its node, of which none was started. */
export async function withLog<T>(
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (log: TxLog, system: System) => Promise<T>,
): Promise<T> {
  const config = requireConfig(await readConfiguration(options, terminal));
  const onNotice = (notice: string): void => void terminal.stderr.write(`notice: ${notice}\n`);
  for (const notice of config.notices) onNotice(notice);
  const system = withAwaitedStores(await createSystem(config, { onNotice }), terminal);
  const log = await system.openTxLog({ signal: new AbortController().signal });
  try {
    for (const { code, message, hint } of await inspected(log)) onNotice(`${code}: ${message} ${hint ?? ""}`);
    return await use(log, system);
  } finally {
    await log.close();
  }
}

/** What somebody should look at about the log; nothing where it cannot be asked, since then `use` runs into the same. */
async function inspected(log: TxLog): Promise<readonly CairnError[]> {
  try {
    return (await log.inspect?.()) ?? [];
  } catch (error) {
    if (isCairnError(error)) return [];
    throw error;
  }
}
